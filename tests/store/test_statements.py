"""Every named statement: SQLite accepts it, the code uses it, and it scans no table that grows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

import interlock.store
from interlock.store.sqlite.connection import open_writer
from interlock.store.statements import COLUMNS, COMMON, Dialect, Statement, columns, load, subjects, texts

DIALECT = Dialect.SQLITE
STATEMENTS = [(subject, name) for subject in subjects(DIALECT) for name in load(subject, DIALECT)]
OFFLINE = {"backup", "examination"}
"""Subjects whose statements a command runs once, or on a copy: they may scan every table."""
GROWS_LITTLE = {"tenants", "tenant_hosts", "clients", "settings", "migrations", "cascades"}
"""Tables whose size depends on the set-up, not on use."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    connection = open_writer(str(tmp_path_factory.mktemp("statements") / "db"))
    connection.execute(load("terminations", DIALECT)["doomed_create"])
    yield connection
    connection.close()


@pytest.mark.parametrize(("subject", "name"), STATEMENTS)
def test_sqlite_accepts_each_statement_and_none_scans_a_growing_table(
    connection: apsw.Connection, subject: str, name: str
) -> None:
    sql = load(subject, DIALECT)[name]
    if sql.startswith("CREATE"):
        return
    unbound = (None,) * len(sql.parameters)
    steps = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", unbound)]
    scanned = [step.split()[1] for step in steps if step.startswith("SCAN ") or _walks_over_a_tenant(step)]
    growing = [table for table in scanned if table not in GROWS_LITTLE | HARMLESS]
    assert not growing or name in WALKS or subject in OFFLINE, f"{subject}.{name} scans {growing}: {steps}"


def _walks_over_a_tenant(step: str) -> bool:
    """Return whether only the tenant, and perhaps a bound of the ids, restricts a search."""
    return re.search(r"^SEARCH .*\(tenant=\?(?: AND id[<>]\?)?\)", step) is not None


WALKS = {
    "executions_page": "in the order of the key, up to a limit",
    "automations_page": "in the order of the key, up to a limit",
    "webhooks_page": "in the order of the key, up to a limit",
    "audit_rows": "in the order of the key, up to a limit",
    "audit_unsealed": "in the order of the key, from the last seal on",
    "audit_head": "one seek: the newest",
    "execution_greatest": "one seek: the newest",
    "definition_next": "one seek: the newest",
    "execution_automations": "one seek for each automation",
    "retention_expired": "the oldest only, of which nothing is left but what still runs",
    "retention_due_later": "the few that outlived the payloads of their time",
    "tokens_revoke_all": "all of a tenant, once",
    "lease_next": "one seek: the soonest",
    "bulk_termination_next": "one seek: the oldest that is open",
    "bulk_terminations_page": "in the order of the key, up to a limit",
    "bulk_next": "one seek: the oldest that is open",
    "bulk_of_automation": "the few that are open",
    "clock_newest": "one seek: the newest",
    "clock_move_runs": "all that wait, when the clock was wrong",
    "clock_move_deadlines": "those that are stopping, when the clock was wrong",
    "clock_move_leases": "all there are, when the clock was wrong",
    "clock_move_plans": "all of the last minutes, when the clock was wrong",
    "clock_move_keys": "all of a day, when the clock was wrong",
    "clock_move_events": "all of a week, when the clock was wrong",
    "clock_move_starts": "as many as breakers permit, when the clock was wrong",
    "clock_move_tokens": "those of an hour, when the clock was wrong",
    "clock_move_breakers": "all automations, when the clock was wrong",
}

HARMLESS = {
    "CONSTANT",
    "run_of",
    "below",
    "above",
    "j",
    "d",
    "doomed",
    "temp.doomed",
    "given",
    "(subquery",
    "c",
    "h",
    "t",
    "s",
}
"""The rows of a recursion, the current batch, and lists that are passed as parameters."""


@pytest.mark.parametrize("subject", subjects(DIALECT))
def test_no_statement_is_left_unused(subject: str) -> None:
    folder = Path(interlock.store.__file__).parent
    source = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    unused = [name for name in load(subject, DIALECT) if f'"{name}"' not in source]
    assert not unused


OF_ONE_DIALECT = re.compile(
    r"INDEXED BY|json_|->|\biif\(|OR (?:IGNORE|REPLACE)|temp\.|TEMP TABLE|CROSS JOIN|\bm(?:in|ax)\([^()]*,|BLOB|\?"
)
"""Syntax that only SQLite accepts, or that has another meaning in other databases."""


@pytest.mark.parametrize("subject", subjects(DIALECT))
def test_what_only_one_database_takes_is_not_common(subject: str) -> None:
    folder = Path(interlock.store.__file__).parent / "sql" / COMMON
    path = folder / f"{subject}.sql"
    text = path.read_text() if path.exists() else ""
    code = [line for line in text.splitlines() if not line.startswith("--")]
    assert [line for line in code if OF_ONE_DIALECT.search(line)] == []


@pytest.mark.parametrize(("subject", "name"), STATEMENTS)
def test_a_statement_is_written_with_named_parameters(subject: str, name: str) -> None:
    text = re.sub(r"'[^']*'", "", texts(subject, DIALECT)[name])
    assert "?" not in text
    assert set(re.findall(r":([a-z_]+)", text)) == set(load(subject, DIALECT)[name].parameters)


def test_parameters_are_numbered_by_first_appearance_with_named_values() -> None:
    statement = Statement.of("x", "SELECT :later + :sooner, '$.a' WHERE :later > 0", DIALECT)
    assert statement == "SELECT ?1 + ?2, '$.a' WHERE ?1 > 0"
    assert statement.values({"sooner": 1, "later": 2, "unused": 3}) == (2, 1)
    with pytest.raises(KeyError):
        statement.values({"later": 2})


LISTS = Path(interlock.store.__file__).parent / "sql" / COMMON / f"{COLUMNS}.sql"
NAMED = re.findall(r"^-- name: (\w+)$", LISTS.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", NAMED)
def test_a_list_of_columns_is_written_once(name: str) -> None:
    listed = re.compile(r"\s*,\s*".join(columns(name)))
    folder = LISTS.parent.parent
    found = [path.name for path in folder.rglob("*.sql") if listed.search(path.read_text())]
    assert found == [LISTS.name]


def test_a_dialect_overrides_a_common_statement_by_its_name() -> None:
    names = [set(re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE)) for path in _files_of("executions")]
    assert set(load("executions", DIALECT)) == set.union(*names)


def _files_of(subject: str) -> list[Path]:
    return sorted(LISTS.parent.parent.rglob(f"{subject}.sql"))
