"""Addenda: a later finding is recorded beside the outcome and never changes it."""

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
from tests.operations.operations_client import CALL, GREET, WAIT, CheckedFarEnd, OperationsClient, operations_client
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio

BACKUP = load("backup", Dialect.SQLITE)

KEPT = ("outcome", "account", "idempotencyKey", "attempts", "settledAt")


@pytest.fixture
async def run(admin: OperationsClient) -> int:
    """Start a run and stop it while its call is in flight, so that the effect of the call is unknown."""
    return await stopped(admin, GREET, CALL, WAIT)


async def stopped(admin: OperationsClient, *steps: object, **order: Any) -> int:
    run = await admin.start(await admin.make(*steps), name="Ann")
    await admin.ask("TerminateAutomation", order, id=run)
    await settle()
    return run


async def add(admin: OperationsClient, run: int, finding: str = "HAPPENED", step: str = "call", **more: Any) -> Any:
    body = {"step": step, "finding": finding, **more}
    return (await admin.ask("OwnCreateAddendum", body, id=run)).body


async def receipt(admin: OperationsClient, run: int) -> Any:
    return (await admin.ask("OwnGetReceipt", id=run)).body


async def text(admin: OperationsClient, run: int) -> str:
    return str((await admin.ask("OwnGetReceipt", id=run, query={"format": "markdown"})).body)


async def test_an_addendum_stands_beside_the_outcome_and_does_not_change_it(admin: OperationsClient, run: int) -> None:
    [before] = (await receipt(admin, run))["unknown"]
    assert (before["resolved"], before["since"], before["addenda"]) == (False, "", [])
    added = await add(admin, run, note="ticket 42 shows it")
    found = await receipt(admin, run)
    [entry] = found["unknown"]
    assert {name: entry[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert entry["addenda"] == [added]
    assert entry["since"].endswith("ann@localhost found that it had happened: “ticket 42 shows it”.")
    assert (entry["resolved"], found["unresolved"]) == (True, 0)
    assert (added["position"], added["step"], added["number"]) == (1, "call", 1)
    assert added["actor"] == {"client": "ann@localhost", "principal": "ann@localhost", "address": "192.0.2.7"}
    assert (await admin.detail(run))["steps"][1]["addenda"] == [added]


@pytest.mark.parametrize(
    ("finding", "said", "unresolved"),
    [
        ("HAPPENED", "found that it had happened", 0),
        ("DID_NOT_HAPPEN", "found that it had not happened", 0),
        ("STILL_UNKNOWN", "could not find out whether it had happened", 1),
    ],
)
async def test_a_finding_is_told_in_a_sentence_and_counted(
    admin: OperationsClient, run: int, finding: str, said: str, unresolved: int
) -> None:
    assert (await receipt(admin, run))["unresolved"] == 1
    await add(admin, run, finding)
    found = await receipt(admin, run)
    assert said in found["unknown"][0]["since"]
    assert found["unresolved"] == unresolved


async def test_all_are_kept_in_order_and_the_newest_speaks(admin: OperationsClient, run: int) -> None:
    for finding in ("HAPPENED", "STILL_UNKNOWN", "DID_NOT_HAPPEN"):
        await admin.wait(60)
        await add(admin, run, finding, note=finding)
    [entry] = (await receipt(admin, run))["unknown"]
    assert [each["note"] for each in entry["addenda"]] == ["HAPPENED", "STILL_UNKNOWN", "DID_NOT_HAPPEN"]
    assert "had not happened" in entry["since"]
    shown = await text(admin, run)
    assert "## Addenda (3)" in shown
    assert shown.index("it had happened") < shown.index("still unknown")


async def test_its_audit_row_says_what_was_found_and_what_was_on_record(admin: OperationsClient, run: int) -> None:
    await add(admin, run, note="ticket 42 shows it")
    [entry] = await admin.audited("execution.addendum")
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


async def test_one_sent_again_is_added_once(admin: OperationsClient, run: int) -> None:
    first = await add(admin, run)
    await admin.wait(60)
    assert await add(admin, run) == first
    assert len(await admin.audited("execution.addendum")) == 1


async def test_what_is_not_in_doubt_takes_none(admin: OperationsClient, run: int) -> None:
    for step, recorded in (("greet", "SUCCEEDED"), ("hold", "NOT_STARTED")):
        with pytest.raises(FailedPrecondition, match=f"nothing is in doubt: the recorded outcome is {recorded}"):
            await add(admin, run, step=step)
    admin.engine.far.stays_at = Phase.CONNECTING
    unsent = await stopped(admin, CALL)
    with pytest.raises(FailedPrecondition, match="INTERRUPTED_NOT_SENT"):
        await add(admin, unsent)
    assert await admin.audited("execution.addendum") == []


async def test_a_run_that_is_not_at_its_end_takes_none_yet(admin: OperationsClient) -> None:
    calling, waiting = [await admin.start(await admin.make(step)) for step in (CALL, WAIT)]
    for execution, step in ((calling, "call"), (waiting, "hold")):
        with pytest.raises(FailedPrecondition, match="still being recorded"):
            await add(admin, execution, step=step)
    await admin.ask("TerminateAutomation", {"mode": "drain"}, id=calling)
    with pytest.raises(FailedPrecondition, match="STOPPING"):
        await add(admin, calling)


async def test_a_call_that_was_to_be_answered_later_can_be_asked_about(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(CALL))
    admin.engine.far.calls[-1].answer(202)
    await settle()
    await admin.ask("TerminateAutomation", id=execution)
    await add(admin, execution, "DID_NOT_HAPPEN", attempt=1)
    found = await receipt(admin, execution)
    [entry] = found["interrupted"]
    assert (entry["outcome"], len(entry["addenda"]), found["unresolved"]) == ("INTERRUPTED_WAITING", 1, 0)


async def test_a_stopped_timer_takes_no_addendum(admin: OperationsClient) -> None:
    with pytest.raises(FailedPrecondition, match="INTERRUPTED_WAITING"):
        await add(admin, await stopped(admin, WAIT), step="hold")


async def test_of_several_attempts_each_one_in_doubt_wants_an_answer(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(CALL))
    admin.engine.far.calls[-1].fail()
    await settle()
    await admin.wait(3_600)
    admin.engine.far.calls[-1].answer(503)
    await settle()
    await admin.wait(3_600)
    await admin.ask("TerminateAutomation", id=execution)
    await settle()
    [entry] = (await receipt(admin, execution))["unknown"]
    assert entry["attempts"] == 3
    await add(admin, execution, "DID_NOT_HAPPEN", attempt=1)
    with pytest.raises(FailedPrecondition, match="the recorded outcome is FAILED"):
        await add(admin, execution, attempt=2)
    found = await receipt(admin, execution)
    assert "found that attempt 1 had not happened" in found["unknown"][0]["since"]
    assert found["unresolved"] == 1
    await add(admin, execution, attempt=3)
    assert (await receipt(admin, execution))["unresolved"] == 0


async def test_a_late_answer_of_the_receiver_resolves_the_outcome(admin: OperationsClient) -> None:
    async with operations_client(far=CheckedFarEnd(deaf=True)) as bob:
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
    admin: OperationsClient, run: int, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await admin.ask("OwnCreateAddendum", body, id=run)
    assert [problem.field for problem in refused.value.problems] == [field]
    assert await admin.services.store.addenda.of(admin.ref(run)) == []


async def test_the_position_names_the_step_as_well_as_its_name(admin: OperationsClient, run: int) -> None:
    for body in ({"position": 1}, {"position": 1, "step": "call"}):
        added = await admin.ask("OwnCreateAddendum", {**body, "finding": "HAPPENED"}, id=run)
        assert (added.body["position"], added.body["step"]) == (1, "call")


async def test_another_tenants_run_is_not_found_and_gets_none(admin: OperationsClient, run: int) -> None:
    with pytest.raises(NotFound):
        await add(await admin.of_another_tenant(), run)
    assert await admin.services.store.addenda.of(admin.ref(run)) == []


async def test_an_app_admin_adds_to_the_runs_of_its_apps(admin: OperationsClient) -> None:
    automation = await admin.make(CALL, appId="crm")
    execution = await admin.start(automation)
    await admin.ask("TerminateAutomation", id=execution)
    await settle()
    await add(admin.with_role(Role.APP_ADMIN, apps=("crm",)), execution)
    assert (await receipt(admin, execution))["unknown"][0]["addenda"][0]["actor"]["client"] == "bob@localhost"


async def test_a_full_disk_takes_none_and_says_so(admin: OperationsClient, run: int) -> None:
    sqlite(admin.engine.store).writer.full = True
    with pytest.raises(Unavailable, match="disk is full"):
        await add(admin, run)
    assert (await receipt(admin, run))["unresolved"] == 1


async def test_the_text_for_a_person_says_what_is_still_open(admin: OperationsClient, run: int) -> None:
    assert f"`interlock executions resolve {run} --happened`" in await text(admin, run)
    await add(admin, run, note="ticket | 42 <b>shows</b> it")
    shown = await text(admin, run)
    assert "Later findings settle all of these." in shown
    assert "interlock executions resolve" not in shown
    assert "ticket \\| 42 \\<b\\>shows\\</b\\> it" in shown


# --- several items ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def mailed(admin: OperationsClient) -> int:
    """Of three letters one is sent; the attempt was given up at the second."""
    automation = await admin.make(CALL)
    row = await admin.services.store.automations.get(admin.tenant.id, automation)
    assert row is not None
    assert row.definition is not None
    executions, at = admin.services.store.executions, admin.engine.clock.now()
    newcomer = Newcomer(admin.tenant.id, admin.services.ids.execution(), automation, row.definition, False)
    created = Created(at, Announce(0, b"{}", items=tuple(map(Item, range(3), ("ann", "bob", "eve")))), "another")
    ref = (await executions.create(newcomer, created, b"{}", StartRecords(audit=AUDIT))).execution.ref
    found = await executions.get(ref)
    assert found is not None
    attempt = AttemptRef(0, 1, found.attempt_epoch)
    await executions.apply(ref, ItemSettled(at, attempt, 0, Result(Outcome.SUCCEEDED)))
    await admin.ask("TerminateAutomation", {"deadline": "0s"}, id=ref.id)
    return ref.id


async def test_of_several_items_each_one_in_doubt_wants_an_answer(admin: OperationsClient, mailed: int) -> None:
    found = await receipt(admin, mailed)
    assert [entry["item"] for entry in found["done"]] == ["ann"]
    assert [(entry["item"], entry["outcome"]) for entry in found["unknown"]] == [
        ("bob", "ABANDONED"),
    ]
    assert [(entry["item"], entry["outcome"]) for entry in found["neverStarted"]] == [("eve", "NOT_STARTED")]
    await add(admin, mailed, item="bob", attempt=1, finding="DID_NOT_HAPPEN")
    found = await receipt(admin, mailed)
    assert [len(entry["addenda"]) for entry in found["unknown"]] == [1]
    assert found["unresolved"] == 0
    assert "1. call: bob, attempt 1" in await text(admin, mailed)


async def test_what_is_learned_too_late_of_an_item_stands_beside_it(admin: OperationsClient, mailed: int) -> None:
    ref = Ref(admin.tenant.id, mailed)
    [step] = await admin.services.store.executions.steps(ref)
    event = ItemSettled(
        admin.engine.clock.now(), AttemptRef(0, 1, step.epoch), 1, Result(Outcome.SUCCEEDED, status=250)
    )
    await admin.services.store.executions.apply(ref, event)
    found = await receipt(admin, mailed)
    assert [(entry["item"], entry["outcome"], entry["status"]) for entry in found["late"]] == [
        ("bob", "LATE_SUCCEEDED", 250)
    ]
    assert [entry["item"] for entry in found["unknown"]] == ["bob"]
    assert "| 1. call: bob | webhook | A late result shows" in await text(admin, mailed)


async def test_an_item_is_named_and_only_one_in_doubt_takes_an_addendum(admin: OperationsClient, mailed: int) -> None:
    for named in ({}, {"item": "unknown"}):
        with pytest.raises(InvalidArgument, match="must be one of ann, bob, eve"):
            await add(admin, mailed, **named)
    for attempt in (0, 1):
        with pytest.raises(FailedPrecondition, match="the recorded outcome is SUCCEEDED"):
            await add(admin, mailed, item="ann", attempt=attempt)


# --- a restored store -------------------------------------------------------------------------------------------------


async def marked_as_restored(admin: OperationsClient) -> None:
    """As if the store had been made now from a backup of an hour ago."""
    known_until = 1_767_323_045 * SECOND

    def job(connection: apsw.Connection) -> None:
        restore = ("monday.db", known_until, known_until + 3600 * SECOND)
        number = connection.execute(BACKUP["backup_restored"], restore).fetchone()
        connection.execute(BACKUP["backup_mark"], number)

    await sqlite(admin.engine.store).writer.submit(on_connection(job))


async def test_in_a_restored_store_whatever_was_not_at_its_end_may_have_happened_since(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(GREET, WAIT, {**CALL, "stepName": "after"}), name="Ann")
    await marked_as_restored(admin)
    sqlite(admin.engine.store).executions.frozen = True
    await add(admin, execution, step="hold", note="it went on after the backup")
    await admin.ask("TerminateAutomation", id=execution)
    sqlite(admin.engine.store).executions.frozen = False
    await add(admin, execution, step="after", note="seen after the release")
    found = await receipt(admin, execution)
    assert found["restored"] == {
        "backup": "monday.db",
        "knownUntil": "2026-01-02T03:04:05Z",
        "restoredAt": "2026-01-02T04:04:05Z",
    }
    assert [len(found[name][0]["addenda"]) for name in ("interrupted", "neverStarted")] == [1, 1]
    assert (
        "This server was restored on 2026-01-02 04:04:05.000 UTC from a backup whose newest change is of "
        "2026-01-02 03:04:05.000 UTC. This receipt does not contain what was done between the two"
    ) in await text(admin, execution)
    with pytest.raises(FailedPrecondition, match="SUCCEEDED"):
        await add(admin, execution, step="greet")
