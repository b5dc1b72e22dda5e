"""Contract of runs: on disk, with each form of the writer, and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from interlock.errors import AlreadyExists, NotFound, Unavailable
from interlock.ports import Announced, Idempotency, Restored, Started, StartRecords
from interlock.rules.admit import Newcomer
from interlock.rules.children import StartChild
from interlock.rules.decision import Verdict
from interlock.rules.events import (
    Announce,
    Change,
    Created,
    Fail,
    Finish,
    Prepared,
    Retry,
    Settled,
    Terminated,
    Wait,
    Woken,
)
from interlock.rules.model import AttemptRef, Item, Ref, Result, SecretRef, TerminationRequest
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State, WaitingFor
from interlock.store.sqlite import stops
from interlock.store.sqlite.execution_reads import IDEMPOTENCY_KEPT
from interlock.store.sqlite.writer import Form
from tests.store.stores import ANN, AUDIT, World, mark_restored, opened, sqlite, world

pytestmark = pytest.mark.anyio

STOP = TerminationRequest(ANN, "enough")
DONE = Result(Outcome.SUCCEEDED, b'{"ok":true}')


class ExecutionsContract:
    """The contract of the port: every store passes it."""

    async def test_a_run_is_kept_with_its_input_and_its_announced_attempt(self, here: World) -> None:
        started = await here.in_flight()
        run = await here.store.executions.load(started.execution.ref)
        assert run is not None
        assert (run.execution, run.input, run.outputs) == (started.execution, b'{"n":1}', ())
        [step] = await here.store.executions.steps(started.execution.ref)
        assert (step.position, step.attempt, step.outcome, step.input) == (0, 1, None, b"{}")

    async def test_a_result_and_the_next_announcement_are_one_commit(self, here: World) -> None:
        row = (await here.in_flight()).execution
        before = here.store.counters().commits
        event = Settled(2_000, AttemptRef(0, 1, row.attempt_epoch), DONE, Announce(1), "me")
        decision = await here.store.executions.apply(row.ref, event)
        assert here.store.counters().commits == before + 1
        assert decision is not None
        assert decision.execution == await here.store.executions.get(row.ref)
        run = await here.store.executions.load(row.ref)
        assert run is not None
        assert run.outputs == ((0, b'{"ok":true}'),)

    async def test_a_result_of_an_attempt_that_is_not_current_leaves_evidence_only(self, here: World) -> None:
        row = (await here.in_flight()).execution
        await here.store.executions.apply(row.ref, Terminated(1_500, replace(STOP, deadline=0)))
        stopped = await here.store.executions.get(row.ref)
        event = Settled(2_000, AttemptRef(0, 1, row.attempt_epoch), DONE, Announce(1), "me")
        decision = await here.store.executions.apply(row.ref, event)
        assert decision is not None
        assert decision.verdict is Verdict.SUPERSEDED
        assert await here.store.executions.get(row.ref) == stopped
        [step] = await here.store.executions.steps(row.ref)
        assert step.outcome is Outcome.ABANDONED
        assert step.late is not None
        assert b"LATE_SUCCEEDED" in step.late

    async def test_stopping_a_waiting_run_ends_it_in_the_same_commit(self, here: World) -> None:
        row = (await here.start(Wait(0, WaitingFor.TIMER, 9_000_000))).execution
        decision = await here.store.executions.apply(row.ref, Terminated(2_000, STOP))
        assert decision is not None
        found = await here.store.executions.get(row.ref)
        assert found is not None
        assert (found.state, found.completed_at, found.wake_at) == (State.TERMINATE, 2_000, None)
        kept = await here.store.executions.termination(row.ref)
        assert kept is not None
        assert (kept.request, kept.accepted_at, kept.found) == (STOP, 2_000, State.WAITING)
        assert await here.store.executions.due(10_000_000, 10) == []

    async def test_the_audit_row_is_in_the_commit_of_the_stop(self, here: World) -> None:
        row = (await here.start(Wait(0, WaitingFor.TIMER, 9_000_000))).execution
        await here.store.executions.apply(row.ref, Terminated(2_000, STOP))
        found = [
            kept.entry
            for kept in await here.store.audit.rows(here.tenant)
            if kept.entry.action == "execution.terminate"
        ]
        assert [(entry.target, entry.outcome, entry.reason) for entry in found] == [(str(row.id), "accepted", "enough")]

    async def test_an_interrupt_is_told_after_the_commit_with_the_raised_epoch(self, here: World) -> None:
        row = (await here.in_flight()).execution
        await here.store.executions.apply(row.ref, Terminated(2_000, STOP))
        found = await here.store.executions.get(row.ref)
        assert found is not None
        assert here.listener.interrupts == [(row.ref, found.epoch)]
        assert (row.ref, found.wake_at) in here.listener.woken

    async def test_an_unknown_run_and_another_tenants_are_the_same(self, here: World) -> None:
        row = (await here.in_flight()).execution
        for ref in (Ref(here.tenant, 839265), Ref(here.tenant + 1, row.id)):
            assert await here.store.executions.apply(ref, Terminated(2_000, STOP)) is None
            assert await here.store.executions.get(ref) is None

    async def test_a_child_is_created_in_its_parents_commit(self, here: World) -> None:
        row = (await here.start()).execution
        change = Change(0, StartChild(77, here.automation, b'{"from":"parent"}', b'{"execution_id":"77"}'))
        before = here.store.counters().commits
        await here.store.executions.apply(row.ref, Prepared(2_000, row.epoch, change, "me"))
        assert here.store.counters().commits == before + 1
        [child] = await here.store.executions.children(row.ref)
        assert (child.id, child.parent, child.root, child.depth, child.state) == (77, row.id, row.id, 1, State.PENDING)
        assert await here.store.executions.input(child.ref) == b'{"from":"parent"}'

    async def test_child_of_a_removed_automation_fails_the_step(self, here: World) -> None:
        row = (await here.start()).execution
        change = Change(0, StartChild(77, "gone", b"{}", b"{}"))
        await here.store.executions.apply(row.ref, Prepared(2_000, row.epoch, change, "me"))
        found = await here.store.executions.get(row.ref)
        assert found is not None
        assert found.state is State.ERROR
        assert await here.store.executions.children(row.ref) == []

    async def test_what_is_due_comes_soonest_first(self, here: World) -> None:
        for until in (3_000, 1_500, 9_000):
            await here.start(Wait(0, WaitingFor.TIMER, until))
        assert [at for _, at in await here.store.executions.due(5_000, 10)] == [1_500, 3_000]
        assert [at for _, at in await here.store.executions.due(5_000, 10, horizon=5_000)] == [1_500, 3_000, 9_000]

    async def test_what_is_in_flight_is_found_again(self, here: World) -> None:
        first, _, third = await here.in_flight(), await here.start(), await here.in_flight()
        await here.store.executions.apply(third.execution.ref, Terminated(2_000, STOP))
        assert [row.id for row in await here.store.executions.in_flight(10)] == [first.execution.id, third.execution.id]

    async def test_pages_are_newest_first_and_filtered(self, here: World) -> None:
        ids = [(await here.start()).execution.id for _ in range(4)]
        await here.store.executions.apply(Ref(here.tenant, ids[1]), Terminated(2_000, STOP))
        executions = here.store.executions
        assert [row.id for row in await executions.page(here.tenant)] == ids[::-1]
        assert [row.id for row in await executions.page(here.tenant, before=ids[2], limit=1)] == [ids[1]]
        assert [row.id for row in await executions.page(here.tenant, states=[State.TERMINATE])] == [ids[1]]
        assert [row.id for row in await executions.page(here.tenant, automations=["auto"], states=[State.PENDING])] == [
            ids[3],
            ids[2],
            ids[0],
        ]
        assert await executions.page(here.tenant, automations=["other"]) == []
        assert await executions.page(here.tenant + 1) == []

    async def test_the_same_key_gives_the_same_run_and_another_body_is_refused(self, here: World) -> None:
        def create(id_: int, body: bytes) -> Awaitable[Started]:
            newcomer = Newcomer(here.tenant, id_, here.automation, here.definition)
            return here.store.executions.create(
                newcomer, Created(5), b"{}", StartRecords(audit=AUDIT, idempotency=Idempotency(key="key", body=body))
            )

        first, again = await asyncio.gather(create(1, b"a"), create(2, b"a"))
        assert (first.execution.id, again.execution.id, again.repeated) == (1, 1, True)
        with pytest.raises(AlreadyExists):
            await create(3, b"b")
        assert await here.store.executions.get(Ref(here.tenant, 2)) is None

    async def test_a_key_is_forgotten_after_a_day(self, here: World) -> None:
        def create(id_: int, at: int) -> Awaitable[Started]:
            newcomer = Newcomer(here.tenant, id_, here.automation, here.definition)
            return here.store.executions.create(
                newcomer, Created(at), b"{}", StartRecords(audit=AUDIT, idempotency=Idempotency(key="key", body=b"a"))
            )

        await create(1, 5)
        await here.store.executions.forget_keys(IDEMPOTENCY_KEPT + 4)
        assert (await create(2, 6)).repeated
        await here.store.executions.forget_keys(IDEMPOTENCY_KEPT + 5)
        assert not (await create(3, 7)).repeated

    async def test_a_deleted_automation_starts_nothing(self, here: World) -> None:
        await here.store.automations.delete(here.tenant, here.automation, 5, AUDIT)
        with pytest.raises(NotFound):
            await here.start()

    async def test_on_a_full_disk_runs_are_stopped_and_settled_and_none_is_started(self, here: World) -> None:
        waiting = (await here.start(Wait(0, WaitingFor.TIMER, 9_000_000))).execution
        flying = (await here.in_flight()).execution
        sqlite(here.store).writer.full = True
        with pytest.raises(Unavailable):
            await here.start()
        await here.store.executions.apply(waiting.ref, Terminated(2_000, STOP))
        event = Settled(2_000, AttemptRef(0, 1, flying.attempt_epoch), DONE, Announce(1), "me")
        await here.store.executions.apply(flying.ref, event)
        stopped, held = await here.store.executions.get(waiting.ref), await here.store.executions.get(flying.ref)
        assert stopped is not None
        assert held is not None
        assert (stopped.state, held.state, held.step) == (State.TERMINATE, State.PENDING, 1)

    async def test_a_callback_wakes_a_run_without_saying_what_comes_next(self, here: World) -> None:
        row = (await here.in_flight()).execution
        accepted = Settled(
            2_000,
            AttemptRef(0, 1, row.attempt_epoch),
            Result(None, status=202),
            Wait(0, WaitingFor.CALLBACK, 9_000),
            "me",
        )
        decision = await here.store.executions.apply(row.ref, accepted)
        assert decision is not None
        await here.store.executions.apply(row.ref, Woken(3_000, decision.execution.epoch, WaitingFor.CALLBACK, DONE))
        found = await here.store.executions.get(row.ref)
        assert found is not None
        assert (found.state, found.step, found.wake_at) == (State.PENDING, 1, 3_000)
        [step] = await here.store.executions.steps(row.ref)
        assert (step.outcome, step.output) == (Outcome.SUCCEEDED, b'{"ok":true}')

    async def test_many_runs_are_read_in_the_order_of_ids_without_unknown_ones(self, here: World) -> None:
        made = {id_: (await here.start(id=id_)).execution for id_ in (3, 7, 5)}
        assert await here.store.executions.get_many(here.tenant, (7, 4, 3, 5)) == [made[7], made[3], made[5]]
        assert await here.store.executions.get_many(here.tenant + 1, (7, 3)) == []
        assert await here.store.executions.get_many(here.tenant, ()) == []

    async def test_last_executions_are_those_of_published_versions(self, here: World) -> None:
        executions, asked = here.store.executions, (here.automation, "unknown")
        assert await executions.last_executed(here.tenant, asked) == {}
        await here.start(at=1_000)
        await here.start(at=3_000)
        await here.start(at=5_000, is_draft=True)
        assert await executions.last_executed(here.tenant, asked) == {here.automation: 3_000}
        assert await executions.last_executed(here.tenant + 1, (here.automation,)) == {}

    async def test_first_announcement_of_a_step_is_kept_for_its_retries(self, here: World) -> None:
        first = Announce(0, b'{"to":"[secret]"}', sealed=SecretRef(b"sealed"), key="one:0")
        row = (await here.start(first)).execution
        executions = here.store.executions
        announced = Announced(input=b'{"to":"[secret]"}', sealed=SecretRef(b"sealed"), key="one:0")
        assert await executions.announced(row.ref, 0) == announced
        failed = Result(Outcome.FAILED, error=b"{}", reached=Reached.NOT_SENT)
        await executions.apply(
            row.ref, Settled(2_000, AttemptRef(0, 1, row.attempt_epoch), failed, Retry(0, 3_000), "me")
        )
        waiting = await executions.get(row.ref)
        assert waiting is not None
        await executions.apply(row.ref, Woken(3_000, waiting.epoch, WaitingFor.RETRY, next=Announce(0), holder="me"))
        assert [step.attempt for step in await executions.steps(row.ref)] == [1, 2]
        assert await executions.announced(row.ref, 0) == announced
        assert await executions.announced(row.ref, 1) is None
        assert await executions.announced(Ref(here.tenant + 1, row.id), 0) is None

    async def test_outputs_are_those_of_succeeded_steps_in_order_and_masked(self, here: World) -> None:
        row = (await here.in_flight()).execution
        executions = here.store.executions
        assert await executions.outputs(row.ref) == ()
        secret = Result(Outcome.SUCCEEDED, b'{"pw":"[secret]"}', sealed=SecretRef(b"sealed"))
        decision = await executions.apply(
            row.ref, Settled(2_000, AttemptRef(0, 1, row.attempt_epoch), secret, Announce(1, b"{}"), "me")
        )
        assert decision is not None
        failed = Result(Outcome.FAILED, output=b'{"out":1}', error=b"{}", reached=Reached.NOT_SENT)
        attempt = AttemptRef(1, 1, decision.execution.attempt_epoch)
        await executions.apply(row.ref, Settled(3_000, attempt, failed, Fail(1), "me"))
        assert await executions.outputs(row.ref) == ((0, b'{"pw":"[secret]"}'),)
        assert await executions.outputs(Ref(here.tenant + 1, row.id)) == ()

    async def test_earlier_start_is_found_by_its_key_for_a_day(self, here: World) -> None:
        key = Idempotency(key="key", body=b"a")
        newcomer = Newcomer(here.tenant, 7, here.automation, here.definition)
        await here.store.executions.create(newcomer, Created(5), b"{}", StartRecords(audit=AUDIT, idempotency=key))

        async def found(
            *,
            tenant: int = here.tenant,
            client: str = ANN.client,
            automation: str = here.automation,
            idempotency: Idempotency = key,
            at: int = 6,
        ) -> int | None:
            return await here.store.executions.started_by(tenant, client, automation, idempotency, at)

        assert await found() == 7
        assert await found(at=4 + IDEMPOTENCY_KEPT) == 7
        assert await found(at=5 + IDEMPOTENCY_KEPT) is None
        assert await found(tenant=here.tenant + 1) is None
        assert await found(client="another") is None
        assert await found(automation="another") is None
        assert await found(idempotency=replace(key, key="another")) is None
        with pytest.raises(AlreadyExists):
            await found(idempotency=replace(key, body=b"b"))

    async def test_restore_left_a_gap_only_in_the_record_of_active_runs(self, here: World) -> None:
        active, ended = (await here.in_flight()).execution, (await here.start(Finish(3))).execution
        executions = here.store.executions
        assert await executions.restored(active.ref) is None
        for day, backup in enumerate(("monday.db", "tuesday.db")):
            restore = Restored(backup=backup, known_until=2_000 + day, restored_at=3_000 + day)
            await mark_restored(here.store, restore)
            assert await executions.restored(active.ref) == restore
        assert await executions.restored(ended.ref) is None
        assert await executions.restored(Ref(here.tenant + 1, active.id)) is None

    async def test_job_of_cascades_wakes_at_the_start_and_for_a_large_tree(
        self, here: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executions = here.store.executions

        async def looks() -> bool:
            with anyio.move_on_after(0) as scope:
                await executions.cascades_left()
            return not scope.cancelled_caught

        assert await looks()
        assert not await looks()
        monkeypatch.setattr(stops, "ONE_COMMIT", 1)
        small, large = [(await here.in_flight()).execution for _ in range(2)]
        for parent in (small, large, large):
            await here.start(parent=parent.ref)
        await executions.terminate_tree(small.ref, 2_000, replace(STOP, cascade=True))
        assert not await looks()
        await executions.terminate_tree(large.ref, 2_000, replace(STOP, cascade=True))
        assert await looks()
        assert not await looks()

    async def test_the_greatest_id_is_known(self, here: World) -> None:
        assert await here.store.executions.greatest_id() == 0
        await here.start(id=41)
        assert await here.store.executions.greatest_id() == 41

    async def test_a_run_of_pure_steps_is_done_in_the_commit_that_creates_it(self, here: World) -> None:
        started = await here.start(Finish(3))
        assert started.execution.state is State.DONE

    async def test_the_items_of_a_step_are_those_that_were_announced_with_it(self, here: World) -> None:
        ref = (await here.start(Announce(0, b"{}", (Item(0, "a"), Item(2, "b"))))).execution.ref
        found = await here.store.executions.items_of_step(ref, 0)
        assert [(each.attempt, each.item, each.name, each.outcome) for each in found] == [
            (1, 0, "a", None),
            (1, 2, "b", None),
        ]
        assert await here.store.executions.items_of_step(ref, 1) == []
        assert await here.store.executions.items_of_step(Ref(here.tenant + 1, ref.id), 0) == []


class TestOnDisk(ExecutionsContract):
    @pytest.fixture(params=list(Form))
    async def here(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
        async with opened(tmp_path, request.param) as store:
            yield await world(store)

    async def test_a_commit_that_falls_into_a_snapshot_is_not_seen_in_it(self, here: World) -> None:
        row = (await here.in_flight()).execution
        ref, stored = row.ref, here.store.executions
        async with here.store.snapshot() as reads:
            assert await reads.executions.get(ref) == row
            await stored.apply(ref, Settled(2_000, AttemptRef(0, 1, row.attempt_epoch), DONE, Finish(3), "me"))
            assert await reads.executions.get(ref) == row
            assert [step.outcome for step in await reads.executions.steps(ref)] == [None]
        assert [step.outcome for step in await stored.steps(ref)] == [Outcome.SUCCEEDED]

    async def test_a_run_that_moves_while_a_page_is_read_stands_on_it_once(self, tmp_path: Path) -> None:
        connections: list[apsw.Connection] = []
        apsw.connection_hooks.append(connections.append)
        async with opened(tmp_path) as store:
            apsw.connection_hooks.remove(connections.append)
            here = await world(store)
            row = (await here.start()).execution
            writer, reader = connections[:2]
            walks = 0

            def moved(event: dict[str, Any]) -> None:
                nonlocal walks
                walks += "FROM executions" in event["sql"]
                if walks == 2:
                    writer.execute("UPDATE executions SET state = 'WAITING' WHERE id = ?", (row.id,))

            reader.trace_v2(apsw.SQLITE_TRACE_STMT, moved)
            page = await store.executions.page(row.tenant, states=(State.PENDING, State.WAITING))
            reader.trace_v2(0)
        assert [(found.id, found.state) for found in page] == [(row.id, State.PENDING)]
        assert walks == 2


class TestInMemory(ExecutionsContract):
    @pytest.fixture
    async def here(self) -> AsyncIterator[World]:
        async with opened(None) as store:
            yield await world(store)
