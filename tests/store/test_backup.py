"""Backups: a verified copy of one moment, and a restored store that is frozen until its release."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from interlock.errors import FailedPrecondition, Fatal, NotFound, Unavailable
from interlock.ports import Addendum, AddendumFinding, Restored, Store
from interlock.rules.events import Announce, Terminated, Wait
from interlock.rules.model import Ref, TerminationRequest
from interlock.rules.states import State, WaitingFor
from interlock.store.sqlite import backup
from interlock.store.sqlite.connection import integrity_errors
from interlock.store.sqlite.disk import DATABASE
from tests.store.stores import ANN, AUDIT, Listener, World, insert_run, make_schema, opened, sqlite, world

pytestmark = [pytest.mark.anyio, pytest.mark.own_work]


LATER = 5_000
"""The time of a restore."""


async def a_backup(tmp_path: Path) -> Path:
    """Create a backup of a store in use, with three runs in different states; start another run afterwards."""
    file = tmp_path / "monday.db"
    async with opened(tmp_path / "data") as store:
        here = await world(store)
        await here.start(Announce(0, b"{}"))
        await here.start(Wait(0, WaitingFor.TIMER, 10**15))
        ended = (await here.start()).execution
        await store.executions.apply(ended.ref, Terminated(2_000, TerminationRequest(ANN, "over")))
        facts = backup.create(tmp_path / "data", file)
        assert (facts.automations, facts.executions, facts.unfinished) == (1, 3, 2)
        await here.start()
    return file


async def test_a_backup_of_a_store_in_use_is_whole_and_of_one_moment(tmp_path: Path) -> None:
    file = await a_backup(tmp_path)
    assert backup.verify(file).executions == 3
    assert (os.stat(file).st_mode & 0o777) == 0o600
    assert set(os.listdir(tmp_path)) == {"data", "monday.db", "monday.db.sha256"}


async def test_nothing_is_written_over(tmp_path: Path) -> None:
    file = await a_backup(tmp_path)
    with pytest.raises(FailedPrecondition, match="already"):
        backup.create(tmp_path / "data", file)
    with pytest.raises(FailedPrecondition, match="already"):
        backup.restore(file, tmp_path / "data", LATER)
    with pytest.raises(NotFound):
        backup.create(tmp_path / "nowhere", tmp_path / "x.db")


@pytest.mark.parametrize("where", [100, 5_000, 20_000])
async def test_a_damaged_backup_is_refused(tmp_path: Path, where: int) -> None:
    file = await a_backup(tmp_path)
    damaged = bytearray(file.read_bytes())
    damaged[where : where + 2_000] = b"\xff" * 2_000
    file.write_bytes(damaged)
    with pytest.raises(Fatal):
        backup.verify(file)
    with pytest.raises(Fatal):
        backup.restore(file, tmp_path / "restored", LATER)
    assert not (tmp_path / "restored" / DATABASE).exists()


@pytest.mark.parametrize("companions", [("-wal", "-shm"), ("-wal",), ()])
@pytest.mark.parametrize("is_closed", [True, False])
async def test_database_of_a_server_is_no_backup(tmp_path: Path, companions: tuple[str, ...], is_closed: bool) -> None:
    """The log has the last commits: the copy would lose them, and its check would find nothing."""
    names = [f"{DATABASE}{suffix}" for suffix in ("", *companions)]
    copied = tmp_path / "copied"
    copied.mkdir()

    def copy() -> None:
        for name in names:
            shutil.copyfile(tmp_path / "data" / name, copied / name)

    async with opened(tmp_path / "data") as store:
        here = await world(store)
        await here.start()
        copy()
    if is_closed:
        copy()
    for command in (backup.verify, lambda file: backup.restore(file, tmp_path / "restored", LATER)):
        with pytest.raises(Fatal, match="backup create"):
            command(copied / DATABASE)
    assert not (tmp_path / "restored" / DATABASE).exists()


async def test_backup_with_an_unfinished_change_is_refused(tmp_path: Path) -> None:
    file = await a_backup(tmp_path)
    file.with_name(f"{file.name}-journal").write_bytes(b"what was there before")
    with pytest.raises(Fatal, match="backup create"):
        backup.verify(file)


async def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at " * 100)
    with pytest.raises(Fatal):
        backup.verify(tmp_path / "text")
    with pytest.raises(NotFound):
        backup.verify(tmp_path / "nothing")


async def test_a_restored_store_is_frozen_until_it_is_released(tmp_path: Path) -> None:
    file, restored = await a_backup(tmp_path), tmp_path / "restored"
    backup.restore(file, restored, LATER)
    assert [(each.execution, each.state) for each in backup.open_attempts(restored)] == [
        (1, "PROCESS_STEP"),
        (2, "WAITING"),
    ]
    async with opened(restored) as store:
        assert store.frozen
        here = await resumed(store)
        with pytest.raises(FailedPrecondition, match="frozen"):
            await here.start()
        waiting = (await store.executions.page(here.tenant))[1]
        stopped = await store.executions.apply(waiting.ref, Terminated(9_000, TerminationRequest(ANN, "looked at")))
        assert stopped is not None
        assert stopped.execution.state is State.TERMINATE
        with pytest.raises(Unavailable):
            backup.release(restored, LATER + 1)
    assert backup.release(restored, LATER + 1)
    assert not backup.release(restored, LATER + 1)
    async with opened(restored) as store:
        assert not store.frozen
        here = await resumed(store)
        assert (await here.start(id=10)).execution.state is State.PENDING


async def test_that_it_was_restored_stays_on_record(tmp_path: Path) -> None:
    file, restored = await a_backup(tmp_path), tmp_path / "restored"
    backup.restore(file, restored, LATER)
    async with opened(restored) as store:
        here = await resumed(store)
        in_flight, waiting, ended = (Ref(here.tenant, number) for number in (1, 2, 3))
        await store.executions.apply(waiting, Terminated(9_000, TerminationRequest(ANN, "looked at")))
    backup.release(restored, LATER + 1)
    expected = Restored(backup="monday.db", known_until=2_000, restored_at=LATER)
    async with opened(restored) as store:
        assert [await store.executions.restored(ref) for ref in (in_flight, waiting, ended)] == [
            expected,
            expected,
            None,
        ]
        started = await (await resumed(store)).start()
        assert await store.executions.restored(started.execution.ref) is None
        actions = [(row.entry.action, row.entry.target, row.at) for row in await store.audit.rows(here.tenant)]
    assert ("store.restore", "monday.db", LATER) in actions
    assert ("store.release", "", LATER + 1) in actions


async def test_remains_of_a_failed_attempt_do_no_harm(tmp_path: Path) -> None:
    file, restored = await a_backup(tmp_path), tmp_path / "restored"
    restored.mkdir()
    # SQLite still has to roll the pages of this journal back.
    journal = bytes.fromhex("d9d505f920a163d7") + b"\0" * 4_088
    for name in (f"{DATABASE}.partial", f"{DATABASE}.partial-journal"):
        (restored / name).write_bytes(journal)
    backup.restore(file, restored, LATER)
    async with opened(restored) as store:
        assert integrity_errors(sqlite(store)._reader) == []
    assert not list(restored.glob("*.partial*"))


async def test_a_backup_of_an_earlier_release_is_restored_to_this_one(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    with closing(apsw.Connection(str(file))) as connection:
        make_schema(connection, 10)
        insert_run(connection, 1, State.WAITING)
    assert backup.verify(file).schema == 10
    backup.restore(file, tmp_path / "restored", LATER)
    async with opened(tmp_path / "restored") as store:
        assert await store.executions.restored(Ref(1, 1)) == Restored(backup="old.db", known_until=1, restored_at=LATER)


async def test_a_store_restored_twice_knows_the_newer_one(tmp_path: Path) -> None:
    file, restored, again = await a_backup(tmp_path), tmp_path / "restored", tmp_path / "again"
    backup.restore(file, restored, LATER)
    backup.create(restored, tmp_path / "tuesday.db")
    backup.restore(tmp_path / "tuesday.db", again, LATER + 5)
    async with opened(again) as store:
        here = await resumed(store)
        found = await store.executions.restored(Ref(here.tenant, 1))
        assert found == Restored(backup="tuesday.db", known_until=LATER, restored_at=LATER + 5)


async def test_what_was_added_to_a_run_is_in_its_backup(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as store:
        here = await world(store)
        ended = (await here.start()).execution
        await store.executions.apply(ended.ref, Terminated(2_000, TerminationRequest(ANN, "over")))
        added = await store.addenda.add(
            Addendum(ref=ended.ref, position=0, finding=AddendumFinding.HAPPENED, actor=ANN, at=3_000), AUDIT
        )
        backup.create(tmp_path / "data", tmp_path / "monday.db")
    backup.restore(tmp_path / "monday.db", tmp_path / "restored", LATER)
    async with opened(tmp_path / "restored") as store:
        assert await store.addenda.of(ended.ref) == [added]
        later = Addendum(ref=ended.ref, position=0, finding=AddendumFinding.DID_NOT_HAPPEN, actor=ANN, at=9_000)
        await store.addenda.add(later, AUDIT)
        assert [each.number for each in await store.addenda.of(ended.ref)] == [1, 2]


async def resumed(store: Store) -> World:
    """Return the world of `stores.world` of a store that has its data already."""
    [tenant] = [row.id for row in await store.access.tenants() if row.name == "acme"]
    row = await store.automations.get(tenant, "auto")
    assert row is not None
    assert row.definition is not None
    return World(store, tenant, row.id, row.definition, Listener(), next_id=9)
