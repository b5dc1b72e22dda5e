"""Contract of retention: it removes the payloads of a run, later the run, and never a row of the audit record."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.ports import Addendum, AddendumFinding, TenantSettings
from interlock.ports.system import last_execution_id
from interlock.rules.events import Announce, Fail, Settled, Terminated
from interlock.rules.model import SECOND, AttemptRef, Ref, Result, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.store.sqlite.retention import BATCH, REMOVED
from simulation.reads import finished
from tests.store.stores import ANN, AUDIT, World, opened, world

pytestmark = pytest.mark.anyio

DAY = 86_400 * SECOND
BORN = 1_760_000_000 * SECOND
KEPT = TenantSettings(automations_disabled=False, executions_kept=30 * DAY, payloads_kept=10 * DAY)


async def a_run(here: World, at: int, *, ended_at: int | None = None, input: bytes = b'{"n":1}') -> Ref:
    """Start a run, which fails in its first step if it has an end."""
    started = await here.start(Announce(0, b'{"secret":1}'), at=at, id=last_execution_id(at), input=input)
    row = started.execution
    if ended_at is not None:
        result = Result(Outcome.FAILED, output=b'{"out":1}', error=b'{"code":"X"}')
        attempt = AttemptRef(0, 1, row.attempt_epoch)
        await here.store.executions.apply(row.ref, Settled(ended_at, attempt, result, Fail(0)))
    return row.ref


async def removed(here: World, at: int) -> None:
    await here.store.access.change_settings(here.tenant, lambda _: (KEPT, AUDIT), at)
    while await here.store.retention.remove(at):
        pass


def payloads(here: World, ref: Ref) -> list[bytes | None]:
    (step,) = finished(here.store.executions.steps(ref))
    return [finished(here.store.executions.input(ref)), step.input, step.output, step.error]


class RetentionContract:
    """The contract of the port: every store passes it."""

    async def test_payloads_go_and_what_happened_stays(self, here: World) -> None:
        ref = await a_run(here, BORN, ended_at=BORN + DAY)
        before = await here.store.executions.get(ref)
        await removed(here, BORN + 10 * DAY)
        assert payloads(here, ref)[0] == b'{"n":1}'
        await removed(here, BORN + 11 * DAY)
        assert payloads(here, ref) == [b"{}", None, None, REMOVED]
        assert await here.store.executions.get(ref) == before
        (step,) = await here.store.executions.steps(ref)
        assert step.outcome is Outcome.FAILED

    async def test_whom_a_run_was_about_goes_with_its_payloads(self, here: World) -> None:
        def about() -> list[Ref]:
            return [row.ref for row in finished(here.store.executions.page(here.tenant, subjects=["u1"]))]

        ref = await a_run(here, BORN, ended_at=BORN, input=b'{"user_id":"u1"}')
        await removed(here, BORN + 10 * DAY - 1)
        assert about() == [ref]
        await removed(here, BORN + 10 * DAY)
        assert about() == []
        assert await here.store.executions.get(ref) is not None

    async def test_that_something_was_learned_too_late_stays_without_what_it_was(self, here: World) -> None:
        ref = await a_run(here, BORN, ended_at=BORN + DAY)
        (step,) = await here.store.executions.steps(ref)
        late = Result(Outcome.SUCCEEDED, output=b'{"secret":2}', status=200)
        event = Settled(BORN + 2 * DAY, AttemptRef(0, 1, step.epoch), late, Fail(0))
        await here.store.executions.apply(ref, event)
        await removed(here, BORN + 11 * DAY)
        (step,) = await here.store.executions.steps(ref)
        [evidence] = json.loads(step.late or b"")
        assert (evidence["outcome"], evidence["at"], evidence["status"]) == ("LATE_SUCCEEDED", BORN + 2 * DAY, 200)
        assert "output" not in evidence

    async def test_a_run_is_forgotten_and_its_audit_rows_are_not(self, here: World) -> None:
        ref = await a_run(here, BORN, ended_at=BORN + DAY)
        await removed(here, BORN + 31 * DAY - 1)
        assert await here.store.executions.get(ref) is not None
        rows = await here.store.audit.rows(here.tenant)
        await removed(here, BORN + 31 * DAY)
        executions = here.store.executions
        assert (await executions.get(ref), await executions.steps(ref), await executions.termination(ref)) == (
            None,
            [],
            None,
        )
        assert (await here.store.audit.rows(here.tenant))[: len(rows)] == rows

    async def test_what_was_added_later_stays_with_its_run_and_goes_with_it(self, here: World) -> None:
        ref = await a_run(here, BORN, ended_at=BORN + DAY)
        found = Addendum(
            ref=ref,
            position=0,
            finding=AddendumFinding.HAPPENED,
            actor=ANN,
            at=BORN + 2 * DAY,
            note="asked the receiver",
        )
        added = await here.store.addenda.add(found, AUDIT)
        await removed(here, BORN + 31 * DAY - 1)
        assert await here.store.addenda.of(ref) == [added]
        await removed(here, BORN + 31 * DAY)
        assert await here.store.addenda.of(ref) == []

    async def test_active_run_is_kept_at_any_age(self, here: World) -> None:
        ref = await a_run(here, BORN)
        await removed(here, BORN + 400 * DAY)
        assert payloads(here, ref)[:2] == [b'{"n":1}', b'{"secret":1}']

    async def test_a_run_that_ends_late_is_come_back_to(self, here: World) -> None:
        late = await a_run(here, BORN)
        await a_run(here, BORN + 20 * DAY)
        await removed(here, BORN + 40 * DAY)
        order = TerminationRequest(ANN, "over", deadline=0)
        await here.store.executions.apply(late, Terminated(BORN + 41 * DAY, order))
        await removed(here, BORN + 50 * DAY)
        assert payloads(here, late)[0] == b'{"n":1}'
        await removed(here, BORN + 51 * DAY)
        assert payloads(here, late)[0] == b"{}"
        await removed(here, BORN + 71 * DAY)
        assert await here.store.executions.get(late) is None

    async def test_many_take_several_commits(self, here: World) -> None:
        for number in range(BATCH + 1):
            await a_run(here, BORN + number * 1_000, ended_at=BORN + DAY)
        await here.store.access.change_settings(here.tenant, lambda _: (KEPT, AUDIT), BORN)
        assert [await here.store.retention.remove(BORN + 32 * DAY) for _ in range(3)] == [BATCH, 1, 0]

    async def test_every_tenant_has_its_own(self, here: World) -> None:
        ref = await a_run(here, BORN, ended_at=BORN + DAY)
        other = await here.store.access.create_tenant("other", ("other.example",), 1, AUDIT)
        await here.store.access.change_settings(other.id, lambda _: (KEPT, AUDIT), 2)
        while await here.store.retention.remove(BORN + 40 * DAY):
            pass
        assert payloads(here, ref)[0] == b'{"n":1}'


class TestOnDisk(RetentionContract):
    @pytest.fixture
    async def here(self, tmp_path: Path) -> AsyncIterator[World]:
        async with opened(tmp_path) as store:
            yield await world(store)


class TestInMemory(RetentionContract):
    @pytest.fixture
    async def here(self) -> AsyncIterator[World]:
        async with opened(None) as store:
            yield await world(store)
