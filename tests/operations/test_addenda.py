"""Addenda: what a person learned later stands beside what was recorded, and changes none of it."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest

from interlock.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from interlock.ports import Phase, Role, StartRecords
from interlock.rules.admit import Newcomer
from interlock.rules.events import Announce, Created, ItemSettled
from interlock.rules.model import SECOND, AttemptRef, Item, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.store.statements import Dialect, load
from tests.clocks import settle
from tests.engine.worlds import AUDIT
from tests.operations.desk import CALL, GREET, WAIT, CheckedFarEnd, Desk, desk
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio

BACKUP = load("backup", Dialect.SQLITE)

KEPT = ("outcome", "account", "idempotencyKey", "attempts", "settledAt")


@pytest.fixture
async def run(ann: Desk) -> int:
    """Stopped while a call was under way: nobody knows whether it had its effect."""
    return await stopped(ann, GREET, CALL, WAIT)


async def stopped(ann: Desk, *steps: object, **order: Any) -> int:
    run = await ann.start(await ann.make(*steps), name="Ann")
    await ann.ask("TerminateAutomation", order, id=run)
    await settle()
    return run


async def add(ann: Desk, run: int, finding: str = "HAPPENED", step: str = "call", **more: Any) -> Any:
    body = {"step": step, "finding": finding, **more}
    return (await ann.ask("OwnCreateAddendum", body, id=run)).body


async def receipt(ann: Desk, run: int) -> Any:
    return (await ann.ask("OwnGetReceipt", id=run)).body


async def text(ann: Desk, run: int) -> str:
    return str((await ann.ask("OwnGetReceipt", id=run, query={"format": "markdown"})).body)


async def test_what_was_learned_stands_beside_the_outcome_and_changes_none_of_it(ann: Desk, run: int) -> None:
    [before] = (await receipt(ann, run))["unknown"]
    assert (before["resolved"], before["since"], before["addenda"]) == (False, "", [])
    added = await add(ann, run, note="ticket 42 shows it")
    found = await receipt(ann, run)
    [entry] = found["unknown"]
    assert {name: entry[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert entry["addenda"] == [added]
    assert entry["since"].endswith("ann@localhost found that it had happened: “ticket 42 shows it”.")
    assert (entry["resolved"], found["unresolved"]) == (True, 0)
    assert (added["position"], added["step"], added["number"]) == (1, "call", 1)
    assert added["actor"] == {"client": "ann@localhost", "principal": "ann@localhost", "address": "192.0.2.7"}
    assert (await ann.detail(run))["steps"][1]["addenda"] == [added]


@pytest.mark.parametrize(
    ("finding", "said", "unresolved"),
    [
        ("HAPPENED", "found that it had happened", 0),
        ("DID_NOT_HAPPEN", "found that it had not happened", 0),
        ("STILL_UNKNOWN", "could not find out whether it had happened", 1),
    ],
)
async def test_a_finding_is_told_in_a_sentence_and_counted(
    ann: Desk, run: int, finding: str, said: str, unresolved: int
) -> None:
    assert (await receipt(ann, run))["unresolved"] == 1
    await add(ann, run, finding)
    found = await receipt(ann, run)
    assert said in found["unknown"][0]["since"]
    assert found["unresolved"] == unresolved


async def test_all_are_kept_in_order_and_the_newest_speaks(ann: Desk, run: int) -> None:
    for finding in ("HAPPENED", "STILL_UNKNOWN", "DID_NOT_HAPPEN"):
        await ann.wait(60)
        await add(ann, run, finding, note=finding)
    [entry] = (await receipt(ann, run))["unknown"]
    assert [each["note"] for each in entry["addenda"]] == ["HAPPENED", "STILL_UNKNOWN", "DID_NOT_HAPPEN"]
    assert "had not happened" in entry["since"]
    shown = await text(ann, run)
    assert "## Addenda (3)" in shown
    assert shown.index("it had happened") < shown.index("still unknown")


async def test_its_audit_row_says_what_was_found_and_what_was_on_record(ann: Desk, run: int) -> None:
    await add(ann, run, note="ticket 42 shows it")
    [entry] = await ann.audited("execution.addendum")
    assert (entry.target, entry.reason, entry.outcome, entry.actor.client) == (
        str(run),
        "ticket 42 shows it",
        "ok",
        "ann@localhost",
    )
    assert json.loads(entry.details or b"") == {
        "position": 1,
        "step": "call",
        "attempt": 0,
        "item": "",
        "recorded": "INTERRUPTED_OUTCOME_UNKNOWN",
        "finding": "HAPPENED",
    }


async def test_one_sent_again_is_added_once(ann: Desk, run: int) -> None:
    first = await add(ann, run)
    await ann.wait(60)
    assert await add(ann, run) == first
    assert len(await ann.audited("execution.addendum")) == 1


async def test_what_is_not_in_doubt_takes_none(ann: Desk, run: int) -> None:
    for step, recorded in (("greet", "SUCCEEDED"), ("hold", "NOT_STARTED")):
        with pytest.raises(FailedPrecondition, match=f"nothing is in doubt: the recorded outcome is {recorded}"):
            await add(ann, run, step=step)
    ann.engine.far.stays_at = Phase.CONNECTING
    unsent = await stopped(ann, CALL)
    with pytest.raises(FailedPrecondition, match="INTERRUPTED_NOT_SENT"):
        await add(ann, unsent)
    assert await ann.audited("execution.addendum") == []


async def test_a_run_that_is_not_at_its_end_takes_none_yet(ann: Desk) -> None:
    calling, waiting = [await ann.start(await ann.make(step)) for step in (CALL, WAIT)]
    for execution, step in ((calling, "call"), (waiting, "hold")):
        with pytest.raises(FailedPrecondition, match="still being recorded"):
            await add(ann, execution, step=step)
    await ann.ask("TerminateAutomation", {"mode": "drain"}, id=calling)
    with pytest.raises(FailedPrecondition, match="STOPPING"):
        await add(ann, calling)


async def test_a_call_that_was_to_be_answered_later_can_be_asked_about(ann: Desk) -> None:
    execution = await ann.start(await ann.make(CALL))
    ann.engine.far.calls[-1].answer(202)
    await settle()
    await ann.ask("TerminateAutomation", id=execution)
    await add(ann, execution, "DID_NOT_HAPPEN", attempt=1)
    found = await receipt(ann, execution)
    [entry] = found["interrupted"]
    assert (entry["outcome"], len(entry["addenda"]), found["unresolved"]) == ("INTERRUPTED_WAITING", 1, 0)


async def test_a_stopped_timer_has_nobody_to_be_asked(ann: Desk) -> None:
    with pytest.raises(FailedPrecondition, match="INTERRUPTED_WAITING"):
        await add(ann, await stopped(ann, WAIT), step="hold")


async def test_of_several_attempts_each_one_in_doubt_wants_an_answer(ann: Desk) -> None:
    execution = await ann.start(await ann.make(CALL))
    ann.engine.far.calls[-1].fail()
    await settle()
    await ann.wait(3_600)
    ann.engine.far.calls[-1].answer(503)
    await settle()
    await ann.wait(3_600)
    await ann.ask("TerminateAutomation", id=execution)
    await settle()
    [entry] = (await receipt(ann, execution))["unknown"]
    assert entry["attempts"] == 3
    await add(ann, execution, "DID_NOT_HAPPEN", attempt=1)
    with pytest.raises(FailedPrecondition, match="the recorded outcome is FAILED"):
        await add(ann, execution, attempt=2)
    found = await receipt(ann, execution)
    assert "found that attempt 1 had not happened" in found["unknown"][0]["since"]
    assert found["unresolved"] == 1
    await add(ann, execution, attempt=3)
    assert (await receipt(ann, execution))["unresolved"] == 0


async def test_what_the_far_end_told_too_late_leaves_no_question(ann: Desk) -> None:
    async with desk(far=CheckedFarEnd(deaf=True)) as bob:
        execution = await stopped(bob, CALL, deadline="0s")
        assert (await receipt(bob, execution))["unresolved"] == 1
        bob.engine.far.calls[0].answer()
        await settle()
        found = await receipt(bob, execution)
        assert (len(found["unknown"]), len(found["late"]), found["unresolved"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"finding": "HAPPENED"}, "step"),
        ({"step": "call"}, "finding"),
        ({"step": "call", "finding": "UNSPECIFIED"}, "finding"),
        ({"step": "call", "finding": "happened"}, "finding"),
        ({"step": "none", "finding": "HAPPENED"}, "step"),
        ({"step": "greet", "position": 1, "finding": "HAPPENED"}, "step"),
        ({"position": 3, "finding": "HAPPENED"}, "position"),
        ({"position": -1, "finding": "HAPPENED"}, "position"),
        ({"step": "call", "attempt": 2, "finding": "HAPPENED"}, "attempt"),
        ({"step": "call", "attempt": -1, "finding": "HAPPENED"}, "attempt"),
        ({"step": "call", "item": "x", "finding": "HAPPENED"}, "item"),
        ({"step": "call", "finding": "HAPPENED", "note": "x" * 1_025}, "note"),
        ({"step": "call", "finding": "HAPPENED", "note": "two\nlines"}, "note"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_the_field_named(
    ann: Desk, run: int, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await ann.ask("OwnCreateAddendum", body, id=run)
    assert [problem.field for problem in refused.value.problems] == [field]
    assert await ann.services.store.addenda.of(ann.ref(run)) == []


async def test_the_position_names_the_step_as_well_as_its_name(ann: Desk, run: int) -> None:
    for body in ({"position": 1}, {"position": 1, "step": "call"}):
        added = await ann.ask("OwnCreateAddendum", {**body, "finding": "HAPPENED"}, id=run)
        assert (added.body["position"], added.body["step"]) == (1, "call")


async def test_another_tenants_run_is_not_found_and_gets_none(ann: Desk, run: int) -> None:
    with pytest.raises(NotFound):
        await add(await ann.of_another_tenant(), run)
    assert await ann.services.store.addenda.of(ann.ref(run)) == []


async def test_an_app_admin_adds_to_the_runs_of_its_apps(ann: Desk) -> None:
    automation = await ann.make(CALL, appId="crm")
    execution = await ann.start(automation)
    await ann.ask("TerminateAutomation", id=execution)
    await settle()
    await add(ann.with_role(Role.APP_ADMIN, apps=("crm",)), execution)
    assert (await receipt(ann, execution))["unknown"][0]["addenda"][0]["actor"]["client"] == "bob@localhost"


async def test_a_full_disk_takes_none_and_says_so(ann: Desk, run: int) -> None:
    sqlite(ann.engine.store).writer.full = True
    with pytest.raises(Unavailable, match="disk is full"):
        await add(ann, run)
    assert (await receipt(ann, run))["unresolved"] == 1


async def test_the_text_for_a_person_says_what_is_still_open(ann: Desk, run: int) -> None:
    assert f"`interlock executions resolve {run} --happened`" in await text(ann, run)
    await add(ann, run, note="ticket | 42 <b>shows</b> it")
    shown = await text(ann, run)
    assert "Later findings settle all of these." in shown
    assert "interlock executions resolve" not in shown
    assert "ticket \\| 42 \\<b\\>shows\\</b\\> it" in shown


# --- several items ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def mailed(ann: Desk) -> int:
    """Of three letters one is sent; the attempt was given up at the second."""
    automation = await ann.make(CALL)
    row = await ann.services.store.automations.get(ann.tenant.id, automation)
    assert row is not None
    assert row.definition is not None
    executions, at = ann.services.store.executions, ann.engine.clock.now()
    newcomer = Newcomer(ann.tenant.id, ann.services.ids.execution(), automation, row.definition, False)
    created = Created(at, Announce(0, b"{}", items=tuple(map(Item, range(3), ("ann", "bob", "eve")))), "another")
    ref = (await executions.create(newcomer, created, b"{}", StartRecords(audit=AUDIT))).execution.ref
    found = await executions.get(ref)
    assert found is not None
    attempt = AttemptRef(0, 1, found.attempt_epoch)
    await executions.apply(ref, ItemSettled(at, attempt, 0, Result(Outcome.SUCCEEDED)))
    await ann.ask("TerminateAutomation", {"deadline": "0s"}, id=ref.id)
    return ref.id


async def test_of_several_items_each_one_in_doubt_wants_an_answer(ann: Desk, mailed: int) -> None:
    found = await receipt(ann, mailed)
    assert [entry["item"] for entry in found["done"]] == ["ann"]
    assert [(entry["item"], entry["outcome"]) for entry in found["unknown"]] == [
        ("bob", "ABANDONED"),
    ]
    assert [(entry["item"], entry["outcome"]) for entry in found["neverStarted"]] == [("eve", "NOT_STARTED")]
    await add(ann, mailed, item="bob", attempt=1, finding="DID_NOT_HAPPEN")
    found = await receipt(ann, mailed)
    assert [len(entry["addenda"]) for entry in found["unknown"]] == [1]
    assert found["unresolved"] == 0
    assert "1. call: bob, attempt 1" in await text(ann, mailed)


async def test_what_is_learned_too_late_of_an_item_stands_beside_it(ann: Desk, mailed: int) -> None:
    ref = Ref(ann.tenant.id, mailed)
    [step] = await ann.services.store.executions.steps(ref)
    event = ItemSettled(ann.engine.clock.now(), AttemptRef(0, 1, step.epoch), 1, Result(Outcome.SUCCEEDED, status=250))
    await ann.services.store.executions.apply(ref, event)
    found = await receipt(ann, mailed)
    assert [(entry["item"], entry["outcome"], entry["status"]) for entry in found["late"]] == [
        ("bob", "LATE_SUCCEEDED", 250)
    ]
    assert [entry["item"] for entry in found["unknown"]] == ["bob"]
    assert "| 1. call: bob | webhook | A late result shows" in await text(ann, mailed)


async def test_an_item_is_named_and_only_one_in_doubt_takes_an_addendum(ann: Desk, mailed: int) -> None:
    for named in ({}, {"item": "nobody"}):
        with pytest.raises(InvalidArgument, match="must be one of ann, bob, eve"):
            await add(ann, mailed, **named)
    for attempt in (0, 1):
        with pytest.raises(FailedPrecondition, match="the recorded outcome is SUCCEEDED"):
            await add(ann, mailed, item="ann", attempt=attempt)


# --- a restored store -------------------------------------------------------------------------------------------------


async def marked_as_restored(ann: Desk) -> None:
    """As if the store had been made now from a backup of an hour ago."""
    known_until = 1_767_323_045 * SECOND

    def job(connection: apsw.Connection) -> None:
        restore = ("monday.db", known_until, known_until + 3600 * SECOND)
        number = connection.execute(BACKUP["backup_restored"], restore).fetchone()
        connection.execute(BACKUP["backup_mark"], number)

    await sqlite(ann.engine.store).writer.submit(job)


async def test_in_a_restored_store_whatever_was_not_at_its_end_may_have_happened_since(ann: Desk) -> None:
    execution = await ann.start(await ann.make(GREET, WAIT, {**CALL, "stepName": "after"}), name="Ann")
    await marked_as_restored(ann)
    sqlite(ann.engine.store).executions.frozen = True
    await add(ann, execution, step="hold", note="it went on after the backup")
    await ann.ask("TerminateAutomation", id=execution)
    sqlite(ann.engine.store).executions.frozen = False
    await add(ann, execution, step="after", note="seen after the release")
    found = await receipt(ann, execution)
    assert found["restored"] == {
        "backup": "monday.db",
        "knownUntil": "2026-01-02T03:04:05Z",
        "restoredAt": "2026-01-02T04:04:05Z",
    }
    assert [len(found[name][0]["addenda"]) for name in ("interrupted", "neverStarted")] == [1, 1]
    assert (
        "This server was restored on 2026-01-02 04:04:05.000 UTC from a backup whose newest change is of "
        "2026-01-02 03:04:05.000 UTC. This receipt does not contain what was done between the two"
    ) in await text(ann, execution)
    with pytest.raises(FailedPrecondition, match="SUCCEEDED"):
        await add(ann, execution, step="greet")
