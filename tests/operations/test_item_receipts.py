"""Receipts of steps with items: each item stands in one list, whichever attempt it ended in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.ports import HttpFailureKind
from interlock.rules.model import SECOND
from interlock.rules.retry import RetryPolicy
from tests.clocks import settle
from tests.engine.recipients import MAILS, recipients
from tests.engine.worlds import FarEnd
from tests.operations.desk import Desk, desk

pytestmark = pytest.mark.anyio

LISTS = ("done", "failed", "interrupted", "unknown", "neverStarted", "open")


@pytest.fixture
async def ann() -> AsyncIterator[Desk]:
    far = FarEnd()
    kind = recipients(far, retries=RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND))
    async with desk(far=far, more_kinds=[kind]) as made:
        yield made


async def receipt(ann: Desk, execution: int) -> Any:
    return (await ann.ask("OwnGetReceipt", id=execution)).body


def shape(found: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Item and outcome of each entry, by list."""
    return {name: [(entry["item"], entry["outcome"]) for entry in found[name]] for name in LISTS if found.get(name)}


async def answer(ann: Desk, *statuses: int) -> None:
    """Answer the items in their order; 0: the connection is lost."""
    for status in statuses:
        [call] = ann.engine.far.open
        if status:
            call.answer(status)
        else:
            call.fail(HttpFailureKind.RESET)
        await settle()


async def test_stop_in_the_middle_tells_of_each_item(ann: Desk) -> None:
    execution = await ann.start(await ann.make(MAILS))
    await answer(ann, 200)
    await ann.ask("TerminateAutomation", id=execution)
    await settle()
    found = await receipt(ann, execution)
    assert shape(found) == {
        "done": [("ann", "SUCCEEDED")],
        "unknown": [("bob", "INTERRUPTED_OUTCOME_UNKNOWN")],
        "neverStarted": [("eve", "NOT_STARTED")],
    }
    [bob] = found["unknown"]
    assert bob["idempotencyKey"] == ann.engine.far.calls[1].request.headers["Idempotency-Key"]
    [eve] = found["neverStarted"]
    assert eve["idempotencyKey"] == ""


async def test_item_that_ended_in_an_earlier_attempt_stays_in_the_receipt(ann: Desk) -> None:
    execution = await ann.start(await ann.make(MAILS))
    await answer(ann, 200, 503, 200)
    await ann.engine.clock.pass_time(1)
    await answer(ann, 200)
    found = await receipt(ann, execution)
    assert shape(found) == {"done": [("ann", "SUCCEEDED"), ("bob", "SUCCEEDED"), ("eve", "SUCCEEDED")]}
    assert [entry["attempts"] for entry in found["done"]] == [1, 2, 1]


async def test_item_without_an_answer_stays_in_doubt_when_its_retry_is_refused(ann: Desk) -> None:
    execution = await ann.start(await ann.make(MAILS))
    await answer(ann, 200, 0, 200)
    await ann.engine.clock.pass_time(1)
    await answer(ann, 400)
    found = await receipt(ann, execution)
    assert shape(found) == {
        "done": [("ann", "SUCCEEDED"), ("eve", "SUCCEEDED")],
        "unknown": [("bob", "FAILED")],
    }
    assert found["unresolved"] == 1


async def test_item_that_waits_for_its_retry_when_the_run_is_stopped_has_failed(ann: Desk) -> None:
    execution = await ann.start(await ann.make(MAILS))
    await answer(ann, 200, 503, 200)
    await ann.ask("TerminateAutomation", id=execution)
    assert shape(await receipt(ann, execution)) == {
        "done": [("ann", "SUCCEEDED"), ("eve", "SUCCEEDED")],
        "failed": [("bob", "FAILED")],
    }


async def test_failed_item_leaves_those_after_it_never_started(ann: Desk) -> None:
    execution = await ann.start(await ann.make(MAILS))
    await answer(ann, 400)
    assert shape(await receipt(ann, execution)) == {
        "failed": [("ann", "FAILED")],
        "neverStarted": [("bob", "NOT_STARTED"), ("eve", "NOT_STARTED")],
    }


async def test_addendum_names_an_item_of_an_earlier_attempt(ann: Desk) -> None:
    execution = await ann.start(await ann.make(MAILS))
    await answer(ann, 0, 200, 503)
    await ann.engine.clock.pass_time(1)
    await answer(ann, 400)
    body = {"step": "mail", "item": "ann", "finding": "DID_NOT_HAPPEN", "note": "asked"}
    await ann.ask("OwnCreateAddendum", body, id=execution)
    found = await receipt(ann, execution)
    assert [(entry["item"], entry["resolved"]) for entry in found["unknown"]] == [("ann", True)]
