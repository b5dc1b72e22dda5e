"""Numbered SQL, applied in order. The database stores the checksum of each, so a released one is never edited."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from interlock.rules.values import value


@value(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order.

    Raises:
        ValueError: A number is missing or given twice.
    """
    found = []
    for entry in resources.files("interlock.store.migrations").iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, entry.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError("the migrations are not numbered 1, 2, 3, ...")
    return tuple(found)
