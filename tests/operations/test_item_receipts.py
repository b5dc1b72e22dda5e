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
from tests.operations.operations_client import OperationsClient, operations_client

pytestmark = pytest.mark.anyio

LISTS = ("done", "failed", "interrupted", "unknown", "neverStarted", "open")


@pytest.fixture
async def admin() -> AsyncIterator[OperationsClient]:
    far = FarEnd()
    kind = recipients(far, retries=RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND))
    async with operations_client(far=far, more_kinds=[kind]) as made:
        yield made


async def receipt(admin: OperationsClient, execution: int) -> Any:
    return (await admin.ask("OwnGetReceipt", id=execution)).body


def shape(found: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Item and outcome of each entry, by list."""
    return {name: [(entry["item"], entry["outcome"]) for entry in found[name]] for name in LISTS if found.get(name)}


async def answer(admin: OperationsClient, *statuses: int) -> None:
    """Answer the items in their order; 0: the connection is lost."""
    for status in statuses:
        [call] = admin.engine.far.open
        if status:
            call.answer(status)
        else:
            call.fail(HttpFailureKind.RESET)
        await settle()


async def test_stop_in_the_middle_tells_of_each_item(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(MAILS))
    await answer(admin, 200)
    await admin.ask("TerminateAutomation", id=execution)
    await settle()
    found = await receipt(admin, execution)
    assert shape(found) == {
        "done": [("ann", "SUCCEEDED")],
        "unknown": [("bob", "INTERRUPTED_OUTCOME_UNKNOWN")],
        "neverStarted": [("eve", "NOT_STARTED")],
    }
    [bob] = found["unknown"]
    assert bob["idempotencyKey"] == admin.engine.far.calls[1].request.headers["Idempotency-Key"]
    [eve] = found["neverStarted"]
    assert eve["idempotencyKey"] == ""


async def test_item_that_ended_in_an_earlier_attempt_stays_in_the_receipt(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(MAILS))
    await answer(admin, 200, 503, 200)
    await admin.engine.clock.pass_time(1)
    await answer(admin, 200)
    found = await receipt(admin, execution)
    assert shape(found) == {"done": [("ann", "SUCCEEDED"), ("bob", "SUCCEEDED"), ("eve", "SUCCEEDED")]}
    assert [entry["attempts"] for entry in found["done"]] == [1, 2, 1]


async def test_item_without_an_answer_stays_in_doubt_when_its_retry_is_refused(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(MAILS))
    await answer(admin, 200, 0, 200)
    await admin.engine.clock.pass_time(1)
    await answer(admin, 400)
    found = await receipt(admin, execution)
    assert shape(found) == {
        "done": [("ann", "SUCCEEDED"), ("eve", "SUCCEEDED")],
        "unknown": [("bob", "FAILED")],
    }
    assert found["unresolved"] == 1


async def test_item_that_waits_for_its_retry_when_the_run_is_stopped_has_failed(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(MAILS))
    await answer(admin, 200, 503, 200)
    await admin.ask("TerminateAutomation", id=execution)
    assert shape(await receipt(admin, execution)) == {
        "done": [("ann", "SUCCEEDED"), ("eve", "SUCCEEDED")],
        "failed": [("bob", "FAILED")],
    }


async def test_failed_item_leaves_those_after_it_never_started(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(MAILS))
    await answer(admin, 400)
    assert shape(await receipt(admin, execution)) == {
        "failed": [("ann", "FAILED")],
        "neverStarted": [("bob", "NOT_STARTED"), ("eve", "NOT_STARTED")],
    }


async def test_item_that_failed_for_good_without_an_answer_leaves_those_after_it_never_started() -> None:
    far = FarEnd()
    async with operations_client(far=far, more_kinds=[recipients(far)]) as admin:
        execution = await admin.start(await admin.make(MAILS))
        await answer(admin, 200, 0)
        assert shape(await receipt(admin, execution)) == {
            "done": [("ann", "SUCCEEDED")],
            "unknown": [("bob", "FAILED")],
            "neverStarted": [("eve", "NOT_STARTED")],
        }
        [step] = (await admin.ask("OwnGetExecution", id=execution)).body["steps"]
        [attempt] = step["attempts"]
        assert attempt["inDoubt"]
        assert [item["inDoubt"] for item in attempt["items"]] == [False, True, False]


async def test_addendum_names_an_item_of_an_earlier_attempt(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(MAILS))
    await answer(admin, 0, 200, 503)
    await admin.engine.clock.pass_time(1)
    await answer(admin, 400)
    body = {"step": "mail", "item": "ann", "finding": "DID_NOT_HAPPEN", "note": "asked"}
    await admin.ask("OwnCreateAddendum", body, id=execution)
    found = await receipt(admin, execution)
    assert [(entry["item"], entry["resolved"]) for entry in found["unknown"]] == [("ann", True)]
