"""That rows are sealed soon after their commit, and that nothing is done while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.audit.chain import verify
from interlock.audit.sealer import BATCH, Sealer
from interlock.engine import jobs
from interlock.engine.supervisor import MAX_PAUSE_MICROSECONDS, Supervisor
from interlock.errors import Unavailable
from interlock.ports import AuditEntry, Store
from interlock.rules.model import Actor
from interlock.store.sqlite.store import SqliteStore
from tests.clocks import ManualClock, settle

pytestmark = pytest.mark.anyio

ENTRY = AuditEntry(actor=Actor("c"), action="test.change", target="x")


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = SqliteStore(None)
    yield store
    await store.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sealing(store: Store, clock: ManualClock) -> AsyncIterator[Sealer]:
    sealer = Sealer(store.audit, clock)
    task = asyncio.create_task(Supervisor(clock).keep(jobs.sealing(sealer)))
    await clock.pass_time(1)
    yield sealer
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def tenant(store: Store, name: str = "acme") -> int:
    return (await store.access.create_tenant(name, (), 1, ENTRY)).id


async def test_a_row_is_sealed_within_a_second_of_its_commit(store: Store, clock: ManualClock, sealing: Sealer) -> None:
    mine = await tenant(store)
    assert [row.hash for row in await store.audit.rows(mine)] == [None]
    await clock.pass_time(1)
    rows = await store.audit.rows(mine)
    assert verify(rows, await store.audit.head(mine)).sealed == len(rows) == 1


async def test_it_sleeps_without_a_timer_while_nothing_is_committed(
    store: Store, clock: ManualClock, sealing: Sealer
) -> None:
    await tenant(store)
    await clock.pass_time(2)
    commits = store.counters().commits
    await clock.pass_time(3_600)
    assert (clock.sleeping, store.counters().commits) == (0, commits)


async def test_rows_of_a_moment_share_a_commit(store: Store, clock: ManualClock, sealing: Sealer) -> None:
    mine = await tenant(store)
    for at in range(20):
        await store.audit.append(mine, at, ENTRY)
    commits = store.counters().commits
    await clock.pass_time(1)
    assert store.counters().commits == commits + 1
    assert verify(await store.audit.rows(mine), await store.audit.head(mine)).sealed == 21


async def test_more_rows_than_a_batch_and_more_tenants_than_one(store: Store, clock: ManualClock) -> None:
    tenants = [await tenant(store, name) for name in ("one", "two")]
    for which in tenants:
        await asyncio.gather(*(store.audit.append(which, at, ENTRY) for at in range(BATCH + 1)))
    assert await Sealer(store.audit, clock).seal_all() == 2 * (BATCH + 2)
    for which in tenants:
        verdict = verify(await store.audit.rows(which), await store.audit.head(which))
        assert (verdict.ok, verdict.sealed, verdict.unsealed) == (True, BATCH + 2, 0)


async def test_a_chain_goes_on_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    mine = 0
    for _ in range(3):
        store = SqliteStore(tmp_path)
        mine = mine or await tenant(store)
        await store.audit.append(mine, 1, ENTRY)
        await Sealer(store.audit, clock).seal_all()
        # Left for the next start.
        await store.audit.append(mine, 2, ENTRY)
        await store.close()
    store = SqliteStore(tmp_path)
    task = asyncio.create_task(Supervisor(clock).keep(jobs.sealing(Sealer(store.audit, clock))))
    await clock.pass_time(1)
    while (await store.audit.rows(mine))[-1].hash is None:
        await settle(1)
    verdict = verify(await store.audit.rows(mine), await store.audit.head(mine))
    assert (verdict.ok, verdict.sealed, verdict.unsealed) == (True, 7, 0)
    task.cancel()
    await store.close()


class Stubborn:
    """An audit log that takes no seals until it is told to."""

    def __init__(self, store: Store) -> None:
        self._audit = store.audit
        self.taking = False
        self.refused = 0
        for name in ("append", "news", "look_again", "unsealed", "head", "rows"):
            setattr(self, name, getattr(store.audit, name))

    async def seal(self, tenant: int, head: tuple[int, bytes], seals: list[tuple[int, bytes]]) -> bool:
        if not self.taking:
            self.refused += 1
            raise Unavailable("the disk is full")
        return await self._audit.seal(tenant, head, seals)


async def test_what_could_not_be_sealed_is_sealed_when_the_store_takes_it(store: Store, clock: ManualClock) -> None:
    stubborn = Stubborn(store)
    sealer = Sealer(stubborn, clock)  # type: ignore[arg-type]
    task = asyncio.create_task(Supervisor(clock).keep(jobs.sealing(sealer)))
    mine = await tenant(store)
    await clock.pass_time(10)
    assert 3 < stubborn.refused < 12
    stubborn.taking = True
    await clock.pass_time(MAX_PAUSE_MICROSECONDS / 1_000_000)
    assert verify(await store.audit.rows(mine), await store.audit.head(mine)).sealed == 1
    task.cancel()
