"""A mutation for tests: it writes a note into a small table of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import apsw

from interlock.ports import Store
from interlock.rules.changes import Applied, Refused
from interlock.store.sqlite.appliers import RELEASED
from interlock.store.sqlite.mutations import Applier, MutationContext
from interlock.store.sqlite.tx import SqliteTx
from tests.store.stores import on_connection, sqlite

REFUSAL: Final = b'{"code":"NOTE_REFUSED","message":"there is a note of this run already"}'


@dataclass(frozen=True, slots=True)
class WriteNote:
    """Store a note of the run; each run may have one."""

    name: ClassVar[str] = "write_note"

    text: str
    output: bytes | None = b'{"note":1}'
    writes_first: bool = False
    """The applier is wrong: it writes before it refuses."""
    fails: bool = False
    """The applier is wrong: it raises after it has written."""


async def write_note(context: MutationContext, note: WriteNote) -> Applied | Refused:
    """Write a note; refuse a second one."""
    assert isinstance(context.tx, SqliteTx)
    connection, row = context.tx.connection, context.execution
    key = (row.tenant, row.id)
    found = connection.execute("SELECT text FROM notes WHERE tenant = ? AND execution = ?", key).fetchone()
    if found is None or note.writes_first or note.fails:
        connection.execute("INSERT INTO notes VALUES (?, ?, ?, ?)", (*key, context.at, note.text))
    if note.fails:
        raise apsw.ConstraintError("the applier has a defect")
    return Applied(note.output) if found is None else Refused(REFUSAL)


APPLIERS: Final[Mapping[type, Applier]] = {**RELEASED, WriteNote: write_note}


async def make_table(store: Store) -> None:
    """Create the table of the notes, as a migration would."""

    def job(connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (tenant, execution, at, text)")

    await sqlite(store).writer.submit(on_connection(job))


async def notes(store: Store) -> list[str]:
    """Return the committed notes in their order."""

    def job(connection: apsw.Connection) -> list[str]:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]

    return await sqlite(store).writer.submit(on_connection(job))
