"""A server that is broken on purpose: it recovers a step with all its items. Only a fork server imports this."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.engine import following
from interlock.ports import ItemRow, Vault
from interlock.rules.model import Item, Ref
from interlock.steps.attempt import SettledItem


def everything(ref: Ref, rows: Iterable[ItemRow], vault: Vault) -> tuple[tuple[Item, ...], dict[int, SettledItem]]:
    names = {row.item: Item(row.item, row.name) for row in rows}
    return tuple(names.values()), {}


following.remaining = everything  # type: ignore[attr-defined]
