"""Audit rows of refusals, limited per caller: a caller without rights cannot fill the record, or the disk.

The first refusals of a caller within a window have rows of their own. Those after them are counted, by action, and one
row says how many there were. The counts of the current window are in memory; a killed process loses them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from interlock.ports import AuditEntry
from interlock.rules.model import SECOND, Actor
from interlock.rules.values import value

REFUSALS_RECORDED: Final = 20
"""Refusals of one caller within a window that have rows of their own."""
REFUSALS_WINDOW_MICROSECONDS: Final = 60 * SECOND
MAX_COUNTED_CALLERS: Final = 1_000
"""Callers that are counted separately at a time; further ones share one count."""
MAX_COUNTED_ACTIONS: Final = 20
"""Actions that one count distinguishes."""
SUMMARY_ACTION: Final = "audit.refusals"


@value(frozen=True, slots=True)
class Row:
    """A row to be written."""

    tenant: int
    entry: AuditEntry


@dataclass(slots=True)
class _Window:
    since: int
    actor: Actor
    recorded: int = 0
    counted: Counter[str] = field(default_factory=Counter)


class Refusals:
    """Counts per caller: an authenticated client, or else an address, because every caller can name any client."""

    def __init__(self) -> None:
        self._windows: dict[tuple[int, str], _Window] = {}

    def take(self, tenant: int, at: int, entry: AuditEntry) -> list[Row]:
        """Return the rows to write for a refusal: its own or none, after the count of a window that has ended."""
        key = (tenant, entry.actor.principal or entry.actor.address)
        window = self._windows.get(key)
        rows: list[Row] = []
        if window is None and len(self._windows) >= MAX_COUNTED_CALLERS:
            rows += self.over(at)
            if len(self._windows) >= MAX_COUNTED_CALLERS:
                key = (tenant, "")
                window = self._windows.get(key)
        if window is not None and _is_over(window, at):
            rows += self._end(key)
            window = None
        if window is None:
            actor = entry.actor if key[1] else Actor("")
            window = self._windows[key] = _Window(at, actor)
        if window.recorded < REFUSALS_RECORDED:
            window.recorded += 1
            return [*rows, Row(tenant, entry)]
        action = entry.action
        if action not in window.counted and len(window.counted) >= MAX_COUNTED_ACTIONS:
            action = "other"
        window.counted[action] += 1
        return rows

    def over(self, at: int, *, every: bool = False) -> list[Row]:
        """End the windows whose time has passed, or all; return the rows of those that have counts."""
        ended = [key for key, window in self._windows.items() if every or _is_over(window, at)]
        return [row for key in ended for row in self._end(key)]

    def _end(self, key: tuple[int, str]) -> list[Row]:
        window = self._windows.pop(key)
        if not window.counted:
            return []
        count = window.counted.total()
        details = {"count": count, "since": window.since, "actions": dict(window.counted)}
        reason = f"{count} more were refused within a minute"
        entry = AuditEntry(
            actor=window.actor,
            action=SUMMARY_ACTION,
            target="",
            outcome="denied",
            reason=reason,
            details=json.dumps(details).encode(),
        )
        return [Row(key[0], entry)]


def _is_over(window: _Window, at: int) -> bool:
    # A clock that was set back must not keep a window open for ever.
    return not 0 <= at - window.since < REFUSALS_WINDOW_MICROSECONDS
