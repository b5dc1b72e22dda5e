"""What a database must hold: what clients were told, and what is true of every run at every moment."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from interlock.store.sqlite.disk import DATABASE

FILES = (DATABASE, f"{DATABASE}-wal")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a client was told, as a query that finds it."""

    told: str
    query: str
    bindings: tuple[Any, ...]

    def holds(self, connection: apsw.Connection) -> bool:
        return connection.execute(self.query, self.bindings).fetchone() is not None


def started(execution: int, key: str) -> Fact:
    query = "SELECT 1 FROM executions AS e JOIN idempotency AS i ON i.execution = e.id WHERE e.id = ? AND i.key = ?"
    return Fact(f"{execution} was started", query, (execution, key))


def stopped(execution: int, reason: str) -> Fact:
    query = "SELECT 1 FROM terminations WHERE execution = ? AND reason = ?"
    return Fact(f"{execution} was stopped: {reason}", query, (execution, reason))


def in_state(execution: int, state: str) -> Fact:
    return Fact(
        f"{execution} was {state}", "SELECT 1 FROM executions WHERE id = ? AND state = ?", (execution, str(state))
    )


def ordered(order: str) -> Fact:
    return Fact(f"order {order} was given", "SELECT 1 FROM bulk_terminations WHERE id = ?", (order,))


def called_back(execution: int, position: int) -> Fact:
    query = "SELECT 1 FROM steps WHERE execution = ? AND position = ? AND outcome = 'SUCCEEDED'"
    return Fact(f"the callback to {execution} was taken", query, (execution, position))


ALWAYS: dict[str, str] = {
    "S16: other than one audit row of the transition into TERMINATE": (
        "SELECT e.id, e.state, count(a.id) AS rows FROM executions AS e LEFT JOIN audit AS a ON a.tenant = e.tenant "
        "AND a.target = CAST(e.id AS TEXT) AND a.action = 'execution.terminate' AND a.outcome = 'accepted' "
        "GROUP BY e.tenant, e.id HAVING rows <> (e.state IN ('TERMINATE', 'STOPPING'))"
    ),
    "S16: an audit row without a cause": (
        "SELECT id FROM audit WHERE action = 'execution.terminate' AND outcome = 'accepted' "
        "AND json_extract(details, '$.cause') IS NULL"
    ),
    "S1: stopped without a record of it": (
        "SELECT id FROM executions WHERE state IN ('TERMINATE', 'STOPPING') "
        "AND id NOT IN (SELECT execution FROM terminations)"
    ),
    "S1: a record of a stop, and the run goes on": (
        "SELECT id FROM executions WHERE state NOT IN ('TERMINATE', 'STOPPING', 'DONE', 'ERROR') "
        "AND id IN (SELECT execution FROM terminations)"
    ),
    "S2: an attempt after the stop": (
        "SELECT s.execution, s.position FROM steps AS s JOIN terminations AS t USING (tenant, execution) "
        "WHERE s.started_at > t.accepted_at"
    ),
    "S2: a child after the stop": (
        "SELECT e.id FROM executions AS e JOIN terminations AS t ON t.tenant = e.tenant AND t.execution = e.parent "
        "WHERE e.created_at > t.accepted_at"
    ),
    "S10: over, and a step without an outcome": (
        "SELECT e.id, s.position FROM executions AS e JOIN steps AS s ON s.tenant = e.tenant AND s.execution = e.id "
        "WHERE e.state IN ('DONE', 'ERROR', 'TERMINATE') AND s.outcome IS NULL "
        "AND NOT (e.state = 'TERMINATE' AND s.waiting_for IS NOT NULL)"
    ),
    "I1: an item on record, and one before it that is open": (
        "SELECT b.execution, b.attempt, b.item FROM items AS a JOIN items AS b "
        "USING (tenant, execution, position, attempt) WHERE a.item < b.item "
        "AND a.outcome IS NULL AND b.outcome IS NOT NULL"
    ),
    "I2: an item on record that a later attempt announces": (
        "SELECT b.execution, b.attempt, b.item FROM items AS a JOIN items AS b "
        "USING (tenant, execution, position, item) WHERE a.attempt < b.attempt "
        "AND a.outcome IS NOT NULL AND NOT a.again"
    ),
    "S13: over, and something would wake it": (
        "SELECT id FROM executions WHERE state IN ('DONE', 'ERROR', 'TERMINATE') "
        "AND (wake_at IS NOT NULL OR completed_at IS NULL)"
    ),
    "at rest without a time to go on, a callback or a line": (
        "SELECT id, state FROM executions WHERE state IN ('PENDING', 'WAITING', 'STOPPING') AND wake_at IS NULL"
    ),
    "an idempotency key without its run": (
        "SELECT key FROM idempotency WHERE execution NOT IN (SELECT id FROM executions)"
    ),
    "a run that was started without an audit row": (
        "SELECT e.id FROM executions AS e WHERE e.parent IS NULL AND NOT EXISTS (SELECT 1 FROM audit AS a WHERE "
        "a.tenant = e.tenant AND a.target = CAST(e.id AS TEXT) AND a.action = 'execution.start')"
    ),
}
"""Queries that find nothing, whatever was cut off and where."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a database found."""

    problems: tuple[str, ...]
    over: dict[int, str]
    """The final states there are: none of them may ever change."""
    items: dict[tuple[int, str], str] = field(default_factory=dict)
    """The outcomes of the items that have ended, by run and name: none may ever change or be performed again."""


def look(connection: apsw.Connection, facts: Iterable[Fact]) -> Look:
    """Check the database against the invariants and against all facts that a client was told."""
    problems = []
    found = connection.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        return Look((f"not sound: {found[:3]}",), {})
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'leases'").fetchone():
        return Look(("there is no schema",), {})
    for name, query in ALWAYS.items():
        rows = connection.execute(query).fetchall()
        problems += [f"{name}: {row}" for row in rows]
    problems += [f"told and not true: {fact.told}" for fact in facts if not fact.holds(connection)]
    over: dict[int, str] = {}
    for execution, state in connection.execute("SELECT id, state FROM executions").fetchall():
        if state in {"DONE", "ERROR", "TERMINATE"}:
            over[int(str(execution))] = str(state)
    ended = "SELECT execution, name, outcome FROM items WHERE outcome IS NOT NULL AND NOT again"
    items = {(int(str(run)), str(name)): str(outcome) for run, name, outcome in connection.execute(ended).fetchall()}
    return Look(tuple(problems), over, items)


def look_at(directory: Path, facts: Iterable[Fact]) -> Look:
    """The same, of a data directory whose server is dead; nothing in it is touched, as opening it would recover it."""
    copy = directory.parent / "looked-at"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in FILES:
        if (directory / name).exists():
            shutil.copyfile(directory / name, copy / name)
    with closing(apsw.Connection(str(copy / DATABASE))) as connection:
        return look(connection, facts)


def revived(before: Look, after: Look) -> list[str]:
    """S4 and S8: final states, of runs and of items, that did not stay."""
    states = [
        f"S4: {execution} was {state} and is {after.over.get(execution)}"
        for execution, state in before.over.items()
        if after.over.get(execution) != state
    ]
    return states + [
        f"I2: {item} was {outcome} and is {after.items.get(item)}"
        for item, outcome in before.items.items()
        if after.items.get(item) != outcome
    ]
