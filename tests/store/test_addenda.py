"""Contract of addenda: they are stored in order and never changed, each with its audit row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from interlock.errors import FailedPrecondition, Unavailable
from interlock.ports import Addendum, AddendumFinding, AuditEntry
from interlock.rules.model import Actor, Ref
from interlock.store.sqlite import addenda
from tests.store.stores import ANN, World, opened, sqlite, world

pytestmark = pytest.mark.anyio

BOB = Actor("bob@localhost/pcc", "192.0.2.9", "bob")
AUDIT = AuditEntry(actor=ANN, action="execution.addendum", target="1")
DAY = addenda.REPEATED_WITHIN


async def a_finding(here: World) -> Addendum:
    """Return an addendum about an existing run."""
    ref = (await here.in_flight()).execution.ref
    return Addendum(
        ref=ref,
        position=0,
        finding=AddendumFinding.HAPPENED,
        actor=ANN,
        at=5_000,
        attempt=2,
        item="ann",
        note="seen there",
    )


async def audited(here: World) -> int:
    return sum(row.entry.action == AUDIT.action for row in await here.store.audit.rows(here.tenant))


class AddendaContract:
    """The contract of the port: every store passes it."""

    async def test_they_come_back_as_they_were_added_in_their_order(self, here: World) -> None:
        first = await a_finding(here)
        second = replace(first, finding=AddendumFinding.DID_NOT_HAPPEN, actor=BOB, at=4_000, attempt=0, item="")
        added = [await here.store.addenda.add(each, AUDIT) for each in (first, second)]
        assert added == [replace(first, number=1), replace(second, number=2)]
        assert await here.store.addenda.of(first.ref) == added
        assert await here.store.addenda.of(Ref(here.tenant + 1, first.ref.id)) == []

    async def test_each_has_one_audit_row_in_its_commit(self, here: World) -> None:
        finding = await a_finding(here)
        await here.store.addenda.add(finding, AUDIT)
        [row] = [row for row in await here.store.audit.rows(here.tenant) if row.entry.action == AUDIT.action]
        assert (row.at, row.entry) == (finding.at, AUDIT)

    async def test_none_is_added_to_what_is_not_there(self, here: World) -> None:
        finding = await a_finding(here)
        for ref in (Ref(here.tenant, 839_265), Ref(here.tenant + 1, finding.ref.id)):
            assert await here.store.addenda.add(replace(finding, ref=ref), AUDIT) is None
        assert await audited(here) == 0

    async def test_one_that_is_sent_again_is_the_first_one(self, here: World) -> None:
        finding = await a_finding(here)
        first = await here.store.addenda.add(finding, AUDIT)
        assert await here.store.addenda.add(replace(finding, at=finding.at + DAY), AUDIT) == first
        assert (await here.store.addenda.of(finding.ref), await audited(here)) == ([first], 1)

    @pytest.mark.parametrize(
        "change",
        [
            {"at": 5_001 + DAY},
            {"note": "seen again"},
            {"finding": AddendumFinding.STILL_UNKNOWN},
            {"actor": BOB},
            {"item": "bob"},
            {"attempt": 0},
            {"position": 1},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_one_that_says_anything_else_is_another(self, here: World, change: dict[str, object]) -> None:
        finding = await a_finding(here)
        await here.store.addenda.add(finding, AUDIT)
        await here.store.addenda.add(replace(finding, **change), AUDIT)  # type: ignore[arg-type]
        assert ([each.number for each in await here.store.addenda.of(finding.ref)], await audited(here)) == ([1, 2], 2)

    async def test_who_comes_back_to_an_earlier_finding_adds_it_anew(self, here: World) -> None:
        finding = await a_finding(here)
        for said in (AddendumFinding.HAPPENED, AddendumFinding.DID_NOT_HAPPEN, AddendumFinding.HAPPENED):
            await here.store.addenda.add(replace(finding, finding=said), AUDIT)
        assert [each.finding for each in await here.store.addenda.of(finding.ref)][-1] is AddendumFinding.HAPPENED
        assert len(await here.store.addenda.of(finding.ref)) == 3

    async def test_a_full_disk_takes_none_and_still_knows_those_it_has(self, here: World) -> None:
        finding = await a_finding(here)
        first = await here.store.addenda.add(finding, AUDIT)
        sqlite(here.store).writer.full = True
        with pytest.raises(Unavailable, match="disk is full"):
            await here.store.addenda.add(replace(finding, note="more"), AUDIT)
        assert await here.store.addenda.add(finding, AUDIT) == first
        assert (await here.store.addenda.of(finding.ref), await audited(here)) == ([first], 1)

    async def test_there_is_an_end_to_them(self, here: World) -> None:
        finding = await a_finding(here)
        many = [replace(finding, note=str(number)) for number in range(addenda.MOST)]
        await asyncio.gather(*(here.store.addenda.add(each, AUDIT) for each in many))
        with pytest.raises(FailedPrecondition, match="as many as it can have"):
            await here.store.addenda.add(finding, AUDIT)


class TestOnDisk(AddendaContract):
    @pytest.fixture
    async def here(self, tmp_path: Path) -> AsyncIterator[World]:
        async with opened(tmp_path) as store:
            yield await world(store)

    async def test_the_database_itself_refuses_to_edit_one(self, here: World, tmp_path: Path) -> None:
        finding = await a_finding(here)
        await here.store.addenda.add(finding, AUDIT)
        other = apsw.Connection(str(tmp_path / "interlock.db"))
        with pytest.raises(apsw.ConstraintError, match="never edited"):
            other.execute("UPDATE addenda SET note = 'better'")
        other.close()


class TestInMemory(AddendaContract):
    @pytest.fixture
    async def here(self) -> AsyncIterator[World]:
        async with opened(None) as store:
            yield await world(store)
