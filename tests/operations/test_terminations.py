"""The stop, as a caller sees it: what is answered in each state, and what is recorded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.errors import InvalidArgument, NotFound
from interlock.operations.preferences import Preferences, read_preferences
from interlock.rules.model import Mode
from tests.clocks import settle
from tests.engine.worlds import run_automation
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient, Reply

pytestmark = pytest.mark.anyio


async def stop(admin: OperationsClient, execution: int, body: Any = None, *, prefer: str | None = None) -> Reply:
    headers = {} if prefer is None else {"prefer": prefer}
    return await admin.ask("TerminateAutomation", body, id=execution, headers=headers)


def verdict(reply: Reply) -> str:
    return reply.headers["Interlock-Termination"]


async def in_flight(admin: OperationsClient) -> int:
    return await admin.start(await admin.make(CALL, GREET))


# --- what is answered -------------------------------------------------------------------------------------------------


async def test_a_waiting_run_is_over_at_once_and_stays_so(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    first, second = await stop(admin, execution), await stop(admin, execution)
    assert (first.body, verdict(first)) == ({}, "accepted; state=TERMINATE")
    assert (second.body, verdict(second)) == ({}, "repeated; state=TERMINATE")
    assert [entry.outcome for entry in await admin.audited("execution.terminate")] == ["accepted", "repeated"]


async def test_a_run_with_a_call_in_flight_is_stopping_and_shown_as_process_step(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    admin.engine.far.deaf = True
    assert verdict(await stop(admin, execution)) == "accepted; state=STOPPING"
    await settle()
    assert await admin.state(execution) == "PROCESS_STEP"
    assert (await admin.detail(execution))["state"] == "STOPPING"
    found = await admin.ask(
        "SearchAutomationExecutions", {"executionStepStates": ["AUTOMATION_EXECUTION_STATE_PROCESS_STEP"]}
    )
    assert [row["automationExecution"]["id"] for row in found.body["list"]] == [str(execution)]
    assert verdict(await stop(admin, execution)) == "repeated; state=STOPPING"
    await admin.wait(10)
    assert await admin.state(execution) == "TERMINATE"
    assert (await admin.detail(execution))["steps"][0]["outcome"] == "ABANDONED"


async def test_a_call_in_flight_is_cut(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    await stop(admin, execution)
    await settle()
    assert admin.engine.far.calls[0].cut
    assert await admin.state(execution) == "TERMINATE"
    detail = await admin.detail(execution)
    assert [step["outcome"] for step in detail["steps"]] == ["INTERRUPTED_OUTCOME_UNKNOWN", "NOT_STARTED"]


async def test_a_deadline_of_nothing_ends_the_run_in_the_same_commit(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    assert verdict(await stop(admin, execution, {"deadline": "0s"})) == "accepted; state=TERMINATE"


async def test_a_finished_run_takes_the_order_without_effect(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(GREET), name="Ann")
    reply = await stop(admin, execution, prefer="return=representation")
    assert verdict(reply) == "already-finished; state=DONE"
    assert (reply.body["state"], reply.body["executionId"]) == ("DONE", str(execution))
    assert [entry.outcome for entry in await admin.audited("execution.terminate")] == ["already-finished"]


@pytest.mark.parametrize("body", [None, {"cascade": True}, {"reason": "x"}])
async def test_an_unknown_run_is_not_found_and_that_is_recorded(admin: OperationsClient, body: Any) -> None:
    for prefer in (None, "wait=3"):
        with pytest.raises(NotFound, match=r"^not found$"):
            await stop(admin, 839265, body, prefer=prefer)
    assert [(row.target, row.outcome) for row in await admin.audited("execution.terminate")] == [
        ("839265", "not-found")
    ] * 2


async def test_the_first_reason_and_actor_stand(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    admin.engine.far.deaf = True
    await stop(admin, execution, {"reason": "first", "mode": "drain", "deadline": "5m"})
    await stop(admin, execution, {"reason": "second", "deadline": "1.5s"})
    record = (await admin.detail(execution))["termination"]
    assert (record["reason"], record["mode"], record["deadlineAt"]) == (
        "first",
        "interrupt",
        "2025-06-15T15:06:41.500Z",
    )


async def test_drain_lets_the_call_end_and_nothing_after_it(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    await stop(admin, execution, {"mode": "drain"})
    await settle()
    [call] = admin.engine.far.open
    call.answer()
    await settle()
    assert await admin.state(execution) == "TERMINATE"
    assert [step["outcome"] for step in (await admin.detail(execution))["steps"]] == ["SUCCEEDED", "NOT_STARTED"]


async def test_cascade_stops_what_the_run_started_even_when_it_is_done(admin: OperationsClient) -> None:
    child = await admin.make(WAIT)
    parent = await admin.make(run_automation("one", child), run_automation("two", child))
    execution, other = await admin.start(parent), await admin.start(parent)
    children = [int(row["id"]) for row in (await admin.detail(execution))["children"]]
    assert verdict(await stop(admin, execution)) == "already-finished; state=DONE"
    assert [await admin.state(id_) for id_ in children] == ["WAITING"] * 2
    reply = await stop(admin, execution, {"cascade": True, "reason": "all of it"}, prefer="return=representation")
    assert verdict(reply) == "already-finished; state=DONE"
    assert (reply.body["descendants"], reply.body["more"]) == (2, False)
    assert [await admin.state(id_) for id_ in children] == ["TERMINATE"] * 2
    record = (await admin.detail(children[0]))["termination"]
    assert (record["cause"], record["causeExecutionId"], record["reason"]) == ("cascade", str(execution), "all of it")
    assert [row["state"] for row in (await admin.detail(other))["children"]] == ["WAITING"] * 2


async def test_the_record_says_how_many_were_stopped_below_and_a_repeated_order_counts_none_twice(
    admin: OperationsClient,
) -> None:
    child = await admin.make(WAIT)
    execution = await admin.start(await admin.make(run_automation("one", child), run_automation("two", child), WAIT))
    for _ in range(2):
        await stop(admin, execution, {"cascade": True})
        assert (await admin.detail(execution))["termination"]["descendants"] == 2


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x" * 1025}, "reason"),
        ({"reason": "ü" * 513}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
        ({"reason": 5}, "reason"),
        ({"mode": "kill"}, "mode"),
        ({"cascade": "yes"}, "cascade"),
        ({"deadline": "301s"}, "deadline"),
        ({"deadline": "-1s"}, "deadline"),
        ({"deadline": 5}, "deadline"),
    ],
)
async def test_what_is_wrong_with_an_order_is_named_and_nothing_is_stopped(
    admin: OperationsClient, body: Any, field: str
) -> None:
    execution = await admin.start(await admin.make(WAIT))
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await stop(admin, execution, body)
    assert await admin.state(execution) == "WAITING"


@pytest.mark.parametrize("body", [b"", b"{}", b" \n", {"unknown": 1}, {"reason": None, "mode": None, "deadline": None}])
async def test_an_order_needs_no_body_and_ignores_what_it_does_not_know(admin: OperationsClient, body: Any) -> None:
    execution = await admin.start(await admin.make(WAIT))
    assert verdict(await stop(admin, execution, body)) == "accepted; state=TERMINATE"


async def test_the_longest_reason_is_kept_whole(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    await stop(admin, execution, {"reason": "ü" * 512})
    assert (await admin.detail(execution))["termination"]["reason"] == "ü" * 512


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("return=representation", Preferences(True)),
        ("Return=Representation, wait=7", Preferences(True, 7)),
        ('wait="7"; foo=bar, return="representation"', Preferences(True, 7)),
        ("wait=3, wait=9", Preferences(False, 3)),
        ("wait=86400", Preferences(False, 30)),
        ("wait = 0", Preferences(False, 0)),
        ("return=minimal, respond-async", Preferences()),
        ("wait=soon, wait=", Preferences()),
        (",,;;=,", Preferences()),
        ("", Preferences()),
    ],
)
def test_preferences_are_read_as_the_standard_says(header: str, expected: Preferences) -> None:
    assert read_preferences(header) == expected


async def test_the_record_comes_back_when_preferred(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    reply = await stop(admin, execution, {"reason": "why"}, prefer="return=representation")
    assert reply.headers["Preference-Applied"] == "return=representation"
    record = reply.body
    assert (record["state"], record["found"], record["reason"]) == ("STOPPING", "PROCESS_STEP", "why")
    assert (record["acceptedAt"], record["deadlineAt"]) == ("2025-06-15T15:06:40Z", "2025-06-15T15:06:50Z")
    assert record["mode"] == Mode.INTERRUPT
    assert "settledAt" not in record


async def test_the_answer_is_held_until_the_run_has_come_to_rest(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    admin.engine.far.deaf = True
    held = asyncio.ensure_future(stop(admin, execution, prefer="wait=30, return=representation"))
    await settle()
    assert not held.done()
    assert (await admin.detail(execution))["state"] == "STOPPING"
    admin.engine.far.calls[0].answer()
    reply = await held
    assert verdict(reply) == "accepted; state=TERMINATE"
    assert reply.headers["Preference-Applied"] == "return=representation, wait=30"
    assert reply.body["settledAt"] == reply.body["acceptedAt"]


async def test_the_answer_is_held_no_longer_than_preferred(admin: OperationsClient) -> None:
    execution = await in_flight(admin)
    admin.engine.far.deaf = True
    held = asyncio.ensure_future(stop(admin, execution, prefer="wait=2"))
    await settle()
    await admin.wait(1)
    assert not held.done()
    await admin.wait(1)
    reply = await held
    assert (reply.body, verdict(reply)) == ({}, "accepted; state=STOPPING")


async def test_what_has_come_to_rest_is_not_held(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    assert verdict(await stop(admin, execution, prefer="wait=30")) == "accepted; state=TERMINATE"
    assert verdict(await stop(admin, execution, prefer="wait=30")) == "repeated; state=TERMINATE"


async def test_a_thousand_terminates_of_one_run_are_one(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    replies = await asyncio.gather(*(stop(admin, execution) for _ in range(1000)))
    verdicts = [verdict(reply) for reply in replies]
    assert verdicts.count("accepted; state=TERMINATE") == 1
    assert verdicts.count("repeated; state=TERMINATE") == 999
