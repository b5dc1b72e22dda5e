"""Receipts and details of accepted work that is polled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.rules.events import CalledBack
from interlock.rules.model import Ref, Result
from interlock.rules.outcomes import Outcome
from tests.clocks import ManualClock, settle
from tests.engine.polling import DONE, JOB, PAUSE_SECONDS, RUNNING, WAIT_SECONDS, polling
from tests.engine.worlds import FarEnd
from tests.operations.operations_client import OperationsClient, operations_client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def admin() -> AsyncIterator[OperationsClient]:
    far, clock = FarEnd(), ManualClock()
    async with operations_client(far=far, clock=clock, more_kinds=[polling(far, clock)]) as made:
        yield made


async def started(admin: OperationsClient) -> int:
    """A run whose receiver has accepted its job."""
    execution = await admin.start(await admin.make(JOB))
    await answer(admin, 202, b"job-1")
    return execution


async def answer(admin: OperationsClient, status: int = 200, body: bytes = DONE) -> None:
    [call] = admin.engine.far.open
    call.answer(status, body)
    await settle()


async def entry(admin: OperationsClient, execution: int, where: str) -> Any:
    """The one entry of the receipt, which stands in that list."""
    found = (await admin.ask("OwnGetReceipt", id=execution)).body
    lists = ("done", "failed", "interrupted", "unknown", "neverStarted", "open")
    assert [name for name in lists if found.get(name)] == [where]
    [only] = found[where]
    return only


async def test_detail_and_receipt_of_polled_work_show_the_time_of_the_next_poll(admin: OperationsClient) -> None:
    execution = await started(admin)
    for _ in range(2):
        found = await admin.detail(execution)
        assert (found["state"], found["waitingFor"]) == ("WAITING", "poll")
        [attempt] = found["steps"][0]["attempts"]
        assert (attempt["number"], attempt["waitingFor"], attempt["outcome"], attempt["status"]) == (1, "poll", "", 202)
        only = await entry(admin, execution, "open")
        assert only["nextPollAt"] == found["wakeAt"]
        assert only.get("waitsUntil") is None
        assert only["account"].startswith(
            "In progress: the receiver accepted the call, and is asked for the result on 2"
        )
        assert "job-1" not in str(found)
        await admin.engine.clock.pass_time(PAUSE_SECONDS)
        await answer(admin, body=RUNNING)


async def test_receipt_of_work_that_a_poll_found_done(admin: OperationsClient) -> None:
    execution = await started(admin)
    await admin.engine.clock.pass_time(PAUSE_SECONDS)
    await answer(admin)
    only = await entry(admin, execution, "done")
    assert (only["attempts"], only["account"]) == (
        1,
        "Done: the receiver accepted the call, and reported the result later.",
    )


async def test_receipt_of_polled_work_whose_receiver_called_back(admin: OperationsClient) -> None:
    execution = await started(admin)
    engine = admin.engine
    event = CalledBack(engine.clock.now(), 0, Result(Outcome.SUCCEEDED, b'{"done":true}'))
    await engine.store.executions.apply(Ref(engine.tenant, execution), event)
    await engine.clock.pass_time(PAUSE_SECONDS)
    only = await entry(admin, execution, "done")
    assert only["account"] == "Done: the receiver accepted the call, and reported the result later."
    assert len(engine.far.calls) == 1


@pytest.mark.parametrize("during_poll", [False, True])
async def test_stop_of_polled_work_says_that_the_receiver_had_accepted_it(
    admin: OperationsClient, during_poll: bool
) -> None:
    execution = await started(admin)
    if during_poll:
        await admin.engine.clock.pass_time(PAUSE_SECONDS)
    await admin.ask("TerminateAutomation", {"reason": "enough"}, id=execution)
    assert (await admin.detail(execution))["state"] == "TERMINATE"
    await settle()
    only = await entry(admin, execution, "interrupted")
    assert (only["outcome"], only["accepted"], only["status"]) == ("INTERRUPTED_WAITING", True, 202)
    assert only["account"] == "The receiver accepted the call; the run no longer asks it for the result."
    assert only["idempotencyKey"]
    body = {"step": "job", "finding": "HAPPENED", "note": "seen at the receiver"}
    await admin.ask("OwnCreateAddendum", body, id=execution)
    assert len((await entry(admin, execution, "interrupted"))["addenda"]) == 1


async def test_work_that_is_accepted_while_its_run_is_stopping_was_accepted(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(JOB))
    await admin.ask("TerminateAutomation", {"reason": "enough", "mode": "drain"}, id=execution)
    await answer(admin, 202, b"job-1")
    only = await entry(admin, execution, "interrupted")
    assert (only["outcome"], only["accepted"], only["status"]) == ("INTERRUPTED_WAITING", True, 202)
    assert only["account"].startswith("The receiver accepted the call")


async def test_work_that_is_not_reported_in_time_is_in_doubt(admin: OperationsClient) -> None:
    execution = await started(admin)
    await admin.engine.clock.jump(WAIT_SECONDS)
    await answer(admin, body=RUNNING)
    only = await entry(admin, execution, "unknown")
    assert (only["outcome"], only["attempts"]) == ("FAILED", 1)
    assert only["account"] == (
        "Failed: the receiver did not report the job done in time. "
        "The receiver had accepted the call, so it may have had its effect."
    )
