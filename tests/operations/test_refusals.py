"""Refusals on the audit record: each caller's first ones as rows, the rest as counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.errors import NotFound, PermissionDenied
from interlock.ports import AuditEntry, Role
from interlock.rules.model import Actor
from interlock.store.sqlite.refusals import (
    MAX_COUNTED_ACTIONS,
    MAX_COUNTED_CALLERS,
    REFUSALS_RECORDED,
    REFUSALS_WINDOW_MICROSECONDS,
    SUMMARY_ACTION,
    Refusals,
)
from tests.operations.operations_client import OperationsClient

pytestmark = pytest.mark.anyio


async def denied(admin: OperationsClient) -> list[AuditEntry]:
    rows = await admin.services.store.audit.rows(admin.tenant.id, limit=10_000)
    return [row.entry for row in rows if row.entry.outcome in ("denied", "not-found")]


async def refused(
    operations_client: OperationsClient, name: str, times: int, body: Any = None, path: dict[str, str] | None = None
) -> None:
    for _ in range(times):
        with pytest.raises((PermissionDenied, NotFound)):
            await operations_client.ask(name, body or {}, path=path)


async def sum_up(admin: OperationsClient, *, every: bool = False) -> list[AuditEntry]:
    await admin.services.store.audit.sum_up(admin.engine.clock.now(), every=every)
    return [entry for entry in await denied(admin) if entry.action == SUMMARY_ACTION]


async def test_caller_without_rights_writes_no_more_than_a_few_rows_a_minute(admin: OperationsClient) -> None:
    bob = admin.with_role(Role.BASIC)
    await refused(bob, "OwnUpdateSettings", 500)
    assert len(await denied(admin)) == REFUSALS_RECORDED
    assert not await sum_up(admin)
    await admin.wait(61)
    (summary,) = await sum_up(admin)
    assert summary.actor.client == "bob@localhost"
    found = json.loads(summary.details or b"")
    assert found["count"] == 500 - REFUSALS_RECORDED
    assert (
        found["actions"] == {"interlock.v1.Settings.UpdateSettings": found["count"]}
        or sum(found["actions"].values()) == found["count"]
    )
    await refused(bob, "OwnUpdateSettings", 1)
    assert len(await denied(admin)) == REFUSALS_RECORDED + 2


async def test_count_is_written_by_the_next_refusal_and_by_an_orderly_end(admin: OperationsClient) -> None:
    bob = admin.with_role(Role.BASIC)
    await refused(bob, "OwnUpdateSettings", REFUSALS_RECORDED + 3)
    await admin.wait(61)
    await refused(bob, "OwnUpdateSettings", REFUSALS_RECORDED + 2)
    assert [json.loads(entry.details or b"")["count"] for entry in await sum_up(admin)] == [3]
    assert [json.loads(entry.details or b"")["count"] for entry in await sum_up(admin, every=True)] == [3, 2]


async def test_flood_of_one_caller_hides_no_refusal_of_another(admin: OperationsClient) -> None:
    await refused(admin.with_role(Role.BASIC), "OwnUpdateSettings", 100)
    await refused(admin, "TerminateAutomation", 1, path={"id": "123456"})
    assert (await denied(admin))[-1].actor.client == "ann@localhost"


async def test_terminations_of_nothing_are_counted_too(admin: OperationsClient) -> None:
    await refused(admin, "TerminateAutomation", 100, path={"id": "123456"})
    assert len(await denied(admin)) == REFUSALS_RECORDED


@pytest.mark.parametrize(
    ("name", "action", "path"),
    [
        ("OwnListTenants", "tenant.list", {}),
        ("OwnCreateTenant", "tenant.create", {}),
        ("OwnRevokeTenant", "tenant.revoke", {"name": "default"}),
    ],
)
async def test_refused_operation_on_tenants_is_on_record(
    admin: OperationsClient, name: str, action: str, path: dict[str, str]
) -> None:
    eve = await admin.of_another_tenant()
    await refused(eve, name, 1, {"name": "x", "hosts": ["x.example"]} if "Create" in name else {}, path)
    (entry,) = await denied(eve)
    assert (entry.action, entry.outcome, entry.actor.client) == (action, "denied", "eve")


def test_callers_that_prove_nothing_are_told_apart_by_their_address() -> None:
    refusals, rows = Refusals(), 0
    for number in range(10_000):
        rows += len(
            refusals.take(
                1, 5, AuditEntry(actor=Actor(f"client-{number}", "192.0.2.1"), action="token.issue", target="x")
            )
        )
    assert rows == REFUSALS_RECORDED


def test_memory_is_bounded_whatever_the_number_of_callers_and_actions() -> None:
    refusals, rows = Refusals(), 0
    for number in range(10 * MAX_COUNTED_CALLERS):
        rows += len(
            refusals.take(1, 5, AuditEntry(actor=Actor("", f"address-{number}"), action="token.issue", target="x"))
        )
    assert rows <= MAX_COUNTED_CALLERS + REFUSALS_RECORDED
    for number in range(10 * MAX_COUNTED_ACTIONS + REFUSALS_RECORDED):
        refusals.take(2, 5, AuditEntry(actor=Actor("ann", "", "ann"), action=f"action-{number}", target="x"))
    counts = [json.loads(row.entry.details or b"") for row in refusals.over(5, every=True)]
    assert max(len(count["actions"]) for count in counts) <= MAX_COUNTED_ACTIONS + 1
    assert sum(count["count"] for count in counts) == 9 * MAX_COUNTED_CALLERS + 10 * MAX_COUNTED_ACTIONS - (
        REFUSALS_RECORDED
    )


@pytest.mark.parametrize("later", [REFUSALS_WINDOW_MICROSECONDS, -1])
def test_window_ends_with_its_time_and_with_a_clock_that_is_set_back(later: int) -> None:
    refusals, entry = Refusals(), AuditEntry(actor=Actor("ann", "", "ann"), action="a", target="x")
    for _ in range(REFUSALS_RECORDED + 1):
        refusals.take(1, 10, entry)
    summary, own = refusals.take(1, 10 + later, entry)
    assert (summary.entry.action, own.entry) == (SUMMARY_ACTION, entry)
