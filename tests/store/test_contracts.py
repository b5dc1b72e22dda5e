"""The contracts of the ports are complete, and detect a wrong store."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pytest

from interlock.errors import AlreadyExists
from interlock.ports import AuditEntry, AuditRow, Store, WebhookRow
from tests.store import (
    test_access,
    test_addenda,
    test_audit,
    test_automations,
    test_breakers,
    test_bulk_terminations,
    test_clocks,
    test_executions,
    test_fenced_trees,
    test_leases,
    test_retention,
    test_set_based_stops,
    test_shown_copies,
    test_subjects,
    test_webhooks,
)
from tests.store.test_webhooks import WebhooksContract

pytestmark = pytest.mark.anyio

CONTRACTS: Final[dict[str, type]] = {
    "access": test_access.AccessContract,
    "addenda": test_addenda.AddendaContract,
    "audit": test_audit.AuditContract,
    "automations": test_automations.AutomationsContract,
    "breakers": test_breakers.BreakersContract,
    "bulk": test_breakers.BreakersContract,
    "bulk_terminations": test_bulk_terminations.BulkTerminationsContract,
    "clocks": test_clocks.ClocksContract,
    "executions": test_executions.ExecutionsContract,
    "leases": test_leases.LeasesContract,
    "retention": test_retention.RetentionContract,
    "webhooks": test_webhooks.WebhooksContract,
}


def test_each_port_of_a_store_has_a_contract() -> None:
    values = {"frozen", "full"}
    ports = {name for name, found in vars(Store).items() if isinstance(found, property)} - values
    assert ports == CONTRACTS.keys()


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_contract_calls_every_method_of_its_port(name: str) -> None:
    """The modules of the contract call each method by its name."""
    port = _port_of(name)
    methods = {method for method, found in inspect.getmembers(port, inspect.isfunction) if not method.startswith("_")}
    source = "".join(inspect.getsource(module) for module in _modules_of(name))
    assert {method for method in methods if f".{method}(" not in source} == set()


def _modules_of(name: str) -> list[Any]:
    return [inspect.getmodule(CONTRACTS[name]), *MORE.get(name, ())]


MORE: Final[dict[str, tuple[Any, ...]]] = {
    "executions": (test_set_based_stops, test_fenced_trees, test_subjects, test_shown_copies)
}
"""Modules whose contract is about the same port."""


def _port_of(name: str) -> type:
    found: type = inspect.get_annotations(vars(Store)[name].fget, eval_str=True)["return"]
    return found


# --- a double of one port ---------------------------------------------------------------------------------------------


@dataclass
class Webhooks:
    """A correct `ports.Webhooks` in a dictionary."""

    rows: dict[tuple[int, str], WebhookRow] = field(default_factory=dict)
    entries: list[AuditRow] = field(default_factory=list)

    async def get(self, tenant: int, id: str) -> WebhookRow | None:
        return self.rows.get((tenant, id))

    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[WebhookRow]:
        mine = (row for key, row in sorted(self.rows.items()) if key[0] == tenant and key[1] > (after or ""))
        return list(mine)[:limit]

    async def create(self, row: WebhookRow, audit: AuditEntry) -> None:
        if (row.tenant, row.id) in self.rows:
            raise AlreadyExists("there is one already")
        self.rows[row.tenant, row.id] = row
        self.tell(row.tenant, row.created_at, audit)

    async def update(
        self, tenant: int, id: str, change: Callable[[WebhookRow], tuple[WebhookRow, AuditEntry]]
    ) -> WebhookRow | None:
        found = self.rows.get((tenant, id))
        if found is None:
            return None
        row, audit = change(found)
        self.rows[tenant, id] = row
        self.tell(tenant, row.updated_at, audit)
        return row

    async def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> bool:
        if self.rows.pop((tenant, id), None) is None:
            return False
        self.tell(tenant, at, audit)
        return True

    def tell(self, tenant: int, at: int, audit: AuditEntry) -> None:
        self.entries.append(AuditRow(tenant=tenant, id=len(self.entries) + 1, at=at, entry=audit))


class OfAnyTenant(Webhooks):
    async def get(self, tenant: int, id: str) -> WebhookRow | None:
        return next((row for key, row in self.rows.items() if key[1] == id), None)


class Overwriting(Webhooks):
    async def create(self, row: WebhookRow, audit: AuditEntry) -> None:
        self.rows.pop((row.tenant, row.id), None)
        await super().create(row, audit)


class Stale(Webhooks):
    """A cache that no change invalidates."""

    async def get(self, tenant: int, id: str) -> WebhookRow | None:
        kept: dict[tuple[int, str], WebhookRow] = self.__dict__.setdefault("kept", {})
        return kept.setdefault((tenant, id), self.rows[tenant, id]) if (tenant, id) in self.rows else None


class Unordered(Webhooks):
    async def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[WebhookRow]:
        return [row for row in self.rows.values() if row.tenant == tenant and row.id > (after or "")][:limit]


class Untold(Webhooks):
    """A deletion without its audit row."""

    async def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> bool:
        return self.rows.pop((tenant, id), None) is not None


class AlwaysDone(Webhooks):
    async def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> bool:
        await super().delete(tenant, id, at, audit)
        return True


@dataclass
class Audit:
    """The reads of the audit record that the contract makes."""

    webhooks: Webhooks

    async def rows(self, tenant: int, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        return [row for row in self.webhooks.entries if row.tenant == tenant]


@dataclass
class Double:
    """A store with two of its ports."""

    webhooks: Webhooks

    @property
    def audit(self) -> Audit:
        return Audit(self.webhooks)


async def broken_by(double: type[Webhooks]) -> list[str]:
    """Return the tests of the contract that the double fails."""
    contract, broken = WebhooksContract(), []
    for name, promise in inspect.getmembers(contract, inspect.iscoroutinefunction):
        more: dict[str, Any] = {"document": b"{}"} if "document" in inspect.signature(promise).parameters else {}
        check = cast("Callable[..., Awaitable[None]]", promise)
        try:
            await check(store=cast("Store", Double(double())), **more)
        except (AssertionError, pytest.fail.Exception):
            broken.append(name)
    return broken


async def test_a_right_double_passes_the_contract() -> None:
    assert await broken_by(Webhooks) == []


@pytest.mark.parametrize("double", [OfAnyTenant, Overwriting, Stale, Unordered, Untold, AlwaysDone])
async def test_a_wrong_double_is_caught_by_the_contract(double: type[Webhooks]) -> None:
    assert await broken_by(double) != []
