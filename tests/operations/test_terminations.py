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
from tests.operations.desk import CALL, GREET, WAIT, Desk, Reply

pytestmark = pytest.mark.anyio


async def stop(ann: Desk, execution: int, body: Any = None, *, prefer: str | None = None) -> Reply:
    headers = {} if prefer is None else {"prefer": prefer}
    return await ann.ask("TerminateAutomation", body, id=execution, headers=headers)


def verdict(reply: Reply) -> str:
    return reply.headers["Interlock-Termination"]


async def in_flight(ann: Desk) -> int:
    return await ann.start(await ann.make(CALL, GREET))


# --- what is answered -------------------------------------------------------------------------------------------------


async def test_a_waiting_run_is_over_at_once_and_stays_so(ann: Desk) -> None:
    execution = await ann.start(await ann.make(WAIT))
    first, second = await stop(ann, execution), await stop(ann, execution)
    assert (first.body, verdict(first)) == ({}, "accepted; state=TERMINATE")
    assert (second.body, verdict(second)) == ({}, "repeated; state=TERMINATE")
    assert [entry.outcome for entry in await ann.audited("execution.terminate")] == ["accepted", "repeated"]


async def test_a_run_with_a_call_in_flight_is_stopping_and_shown_as_process_step(ann: Desk) -> None:
    execution = await in_flight(ann)
    ann.engine.far.deaf = True
    assert verdict(await stop(ann, execution)) == "accepted; state=STOPPING"
    await settle()
    assert await ann.state(execution) == "PROCESS_STEP"
    assert (await ann.detail(execution))["state"] == "STOPPING"
    found = await ann.ask(
        "SearchAutomationExecutions", {"executionStepStates": ["AUTOMATION_EXECUTION_STATE_PROCESS_STEP"]}
    )
    assert [row["automationExecution"]["id"] for row in found.body["list"]] == [str(execution)]
    assert verdict(await stop(ann, execution)) == "repeated; state=STOPPING"
    await ann.wait(10)
    assert await ann.state(execution) == "TERMINATE"
    assert (await ann.detail(execution))["steps"][0]["outcome"] == "ABANDONED"


async def test_a_call_in_flight_is_cut(ann: Desk) -> None:
    execution = await in_flight(ann)
    await stop(ann, execution)
    await settle()
    assert ann.engine.far.calls[0].cut
    assert await ann.state(execution) == "TERMINATE"
    detail = await ann.detail(execution)
    assert [step["outcome"] for step in detail["steps"]] == ["INTERRUPTED_OUTCOME_UNKNOWN", "NOT_STARTED"]


async def test_a_deadline_of_nothing_ends_the_run_in_the_same_commit(ann: Desk) -> None:
    execution = await in_flight(ann)
    assert verdict(await stop(ann, execution, {"deadline": "0s"})) == "accepted; state=TERMINATE"


async def test_a_finished_run_takes_the_order_without_effect(ann: Desk) -> None:
    execution = await ann.start(await ann.make(GREET), name="Ann")
    reply = await stop(ann, execution, prefer="return=representation")
    assert verdict(reply) == "already-finished; state=DONE"
    assert (reply.body["state"], reply.body["executionId"]) == ("DONE", str(execution))
    assert [entry.outcome for entry in await ann.audited("execution.terminate")] == ["already-finished"]


@pytest.mark.parametrize("body", [None, {"cascade": True}, {"reason": "x"}])
async def test_an_unknown_run_is_not_found_and_that_is_recorded(ann: Desk, body: Any) -> None:
    for prefer in (None, "wait=3"):
        with pytest.raises(NotFound, match=r"^not found$"):
            await stop(ann, 839265, body, prefer=prefer)
    assert [(row.target, row.outcome) for row in await ann.audited("execution.terminate")] == [
        ("839265", "not-found")
    ] * 2


async def test_the_first_reason_and_actor_stand(ann: Desk) -> None:
    execution = await in_flight(ann)
    ann.engine.far.deaf = True
    await stop(ann, execution, {"reason": "first", "mode": "drain", "deadline": "5m"})
    await stop(ann, execution, {"reason": "second", "deadline": "1.5s"})
    record = (await ann.detail(execution))["termination"]
    assert (record["reason"], record["mode"], record["deadlineAt"]) == (
        "first",
        "interrupt",
        "2025-06-15T15:06:41.500Z",
    )


async def test_drain_lets_the_call_end_and_nothing_after_it(ann: Desk) -> None:
    execution = await in_flight(ann)
    await stop(ann, execution, {"mode": "drain"})
    await settle()
    [call] = ann.engine.far.open
    call.answer()
    await settle()
    assert await ann.state(execution) == "TERMINATE"
    assert [step["outcome"] for step in (await ann.detail(execution))["steps"]] == ["SUCCEEDED", "NOT_STARTED"]


async def test_cascade_stops_what_the_run_started_even_when_it_is_done(ann: Desk) -> None:
    child = await ann.make(WAIT)
    parent = await ann.make(run_automation("one", child), run_automation("two", child))
    execution, other = await ann.start(parent), await ann.start(parent)
    children = [int(row["id"]) for row in (await ann.detail(execution))["children"]]
    assert verdict(await stop(ann, execution)) == "already-finished; state=DONE"
    assert [await ann.state(id_) for id_ in children] == ["WAITING"] * 2
    reply = await stop(ann, execution, {"cascade": True, "reason": "all of it"}, prefer="return=representation")
    assert verdict(reply) == "already-finished; state=DONE"
    assert (reply.body["descendants"], reply.body["more"]) == (2, False)
    assert [await ann.state(id_) for id_ in children] == ["TERMINATE"] * 2
    record = (await ann.detail(children[0]))["termination"]
    assert (record["cause"], record["causeExecutionId"], record["reason"]) == ("cascade", str(execution), "all of it")
    assert [row["state"] for row in (await ann.detail(other))["children"]] == ["WAITING"] * 2


async def test_the_record_says_how_many_were_stopped_below_and_a_repeated_order_counts_none_twice(ann: Desk) -> None:
    child = await ann.make(WAIT)
    execution = await ann.start(await ann.make(run_automation("one", child), run_automation("two", child), WAIT))
    for _ in range(2):
        await stop(ann, execution, {"cascade": True})
        assert (await ann.detail(execution))["termination"]["descendants"] == 2


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
async def test_what_is_wrong_with_an_order_is_named_and_nothing_is_stopped(ann: Desk, body: Any, field: str) -> None:
    execution = await ann.start(await ann.make(WAIT))
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await stop(ann, execution, body)
    assert await ann.state(execution) == "WAITING"


@pytest.mark.parametrize("body", [b"", b"{}", b" \n", {"unknown": 1}, {"reason": None, "mode": None, "deadline": None}])
async def test_an_order_needs_no_body_and_ignores_what_it_does_not_know(ann: Desk, body: Any) -> None:
    execution = await ann.start(await ann.make(WAIT))
    assert verdict(await stop(ann, execution, body)) == "accepted; state=TERMINATE"


async def test_the_longest_reason_is_kept_whole(ann: Desk) -> None:
    execution = await ann.start(await ann.make(WAIT))
    await stop(ann, execution, {"reason": "ü" * 512})
    assert (await ann.detail(execution))["termination"]["reason"] == "ü" * 512


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


async def test_the_record_comes_back_when_preferred(ann: Desk) -> None:
    execution = await in_flight(ann)
    reply = await stop(ann, execution, {"reason": "why"}, prefer="return=representation")
    assert reply.headers["Preference-Applied"] == "return=representation"
    record = reply.body
    assert (record["state"], record["found"], record["reason"]) == ("STOPPING", "PROCESS_STEP", "why")
    assert (record["acceptedAt"], record["deadlineAt"]) == ("2025-06-15T15:06:40Z", "2025-06-15T15:06:50Z")
    assert record["mode"] == Mode.INTERRUPT
    assert "settledAt" not in record


async def test_the_answer_is_held_until_the_run_has_come_to_rest(ann: Desk) -> None:
    execution = await in_flight(ann)
    ann.engine.far.deaf = True
    held = asyncio.ensure_future(stop(ann, execution, prefer="wait=30, return=representation"))
    await settle()
    assert not held.done()
    assert (await ann.detail(execution))["state"] == "STOPPING"
    ann.engine.far.calls[0].answer()
    reply = await held
    assert verdict(reply) == "accepted; state=TERMINATE"
    assert reply.headers["Preference-Applied"] == "return=representation, wait=30"
    assert reply.body["settledAt"] == reply.body["acceptedAt"]


async def test_the_answer_is_held_no_longer_than_preferred(ann: Desk) -> None:
    execution = await in_flight(ann)
    ann.engine.far.deaf = True
    held = asyncio.ensure_future(stop(ann, execution, prefer="wait=2"))
    await settle()
    await ann.wait(1)
    assert not held.done()
    await ann.wait(1)
    reply = await held
    assert (reply.body, verdict(reply)) == ({}, "accepted; state=STOPPING")


async def test_what_has_come_to_rest_is_not_held(ann: Desk) -> None:
    execution = await ann.start(await ann.make(WAIT))
    assert verdict(await stop(ann, execution, prefer="wait=30")) == "accepted; state=TERMINATE"
    assert verdict(await stop(ann, execution, prefer="wait=30")) == "repeated; state=TERMINATE"


async def test_a_thousand_terminates_of_one_run_are_one(ann: Desk) -> None:
    execution = await ann.start(await ann.make(WAIT))
    replies = await asyncio.gather(*(stop(ann, execution) for _ in range(1000)))
    verdicts = [verdict(reply) for reply in replies]
    assert verdicts.count("accepted; state=TERMINATE") == 1
    assert verdicts.count("repeated; state=TERMINATE") == 999
