"""SQL in named files: each statement stands under `-- name: some_name` and one line of purpose.

`sql/common` holds what every dialect takes. A dialect adds its own statements, or overrides one of these by its name.
Parameters are written as `:name`, and a driver is given numbered ones. `{columns}` stands for a list of columns that
`sql/common/columns.sql` gives once for all that read or write a table, and `{:columns}` for their parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from operator import itemgetter
from typing import Any, Final

COMMON: Final = "common"
COLUMNS: Final = "columns"
"""The file with the lists of columns; it is not a subject."""

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")
_COLUMNS: Final = re.compile(r"\{(:?)([a-z_]+)\}")


class Dialect(StrEnum):
    """The database that a statement is written for: the folder that overrides `sql/common`."""

    SQLITE = "sqlite"


_SIGN: Final = {Dialect.SQLITE: "?"}


class Statement(str):
    """A statement for its driver: its parameters are numbered, by default in the order of their appearance."""

    __slots__ = ("dialect", "name", "parameters", "text", "values")

    name: str
    text: str
    """The text in the file, with named parameters."""
    dialect: Dialect
    parameters: tuple[str, ...]
    """The names of the parameters, in the order of their numbers."""
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    """Returns the values of the parameters in their order; the mapping may have more. KeyError: one is missing."""

    @classmethod
    def of(cls, name: str, text: str, dialect: Dialect, order: Sequence[str] | None = None) -> Statement:
        """Make a statement of a text with named parameters, which are numbered in an order."""
        parameters = tuple(dict.fromkeys(_PARAMETER.findall(text)) if order is None else order)
        sign = _SIGN[dialect]
        made = cls(_PARAMETER.sub(lambda found: f"{sign}{parameters.index(found[1]) + 1}", text))
        made.name, made.text, made.dialect, made.parameters = name, text, dialect, parameters
        made.values = _getter(parameters)
        return made

    def ordered(self, parameters: Sequence[str]) -> Statement:
        """Return the statement with its parameters numbered in another order.

        Raises:
            ValueError: These are not its parameters.
        """
        if set(parameters) != set(self.parameters) or len(parameters) != len(self.parameters):
            raise ValueError(f"{self.name} has the parameters {self.parameters}, not {tuple(parameters)}")
        return Statement.of(self.name, self.text, self.dialect, parameters)


@cache
def load(subject: str, dialect: Dialect) -> dict[str, Statement]:
    """Return the statements of one subject, by name, for the driver of the dialect.

    Raises:
        ValueError: A name is given twice in one file, or a list of columns is unknown.
    """
    return {name: Statement.of(name, text, dialect) for name, text in texts(subject, dialect).items()}


@cache
def statements(dialect: Dialect) -> dict[str, Statement]:
    """Return the statements of all subjects, by name.

    Raises:
        ValueError: Two subjects have a statement with the same name.
    """
    found: dict[str, Statement] = {}
    for subject in subjects(dialect):
        added = load(subject, dialect)
        if twice := found.keys() & added.keys():
            raise ValueError(f"{subject}.sql names {', '.join(sorted(twice))}, which another subject has")
        found |= added
    return found


def texts(subject: str, dialect: Dialect) -> dict[str, str]:
    """Return the statements of one subject, by name, with named parameters as in the files."""
    found = _read(COMMON, subject) | _read(dialect, subject)
    return {name: _COLUMNS.sub(_listed, text) for name, text in found.items()}


@cache
def columns(name: str) -> tuple[str, ...]:
    """Return a list of columns.

    Raises:
        ValueError: There is no such list.
    """
    found = _read(COMMON, COLUMNS)
    if name not in found:
        raise ValueError(f"{COLUMNS}.sql has no list {name}")
    return tuple(column.strip() for column in found[name].split(","))


def subjects(dialect: Dialect) -> list[str]:
    """Return the names of all files with statements of the dialect."""
    return sorted({name for folder in (COMMON, dialect) for name in _files(folder)} - {COLUMNS})


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    # A function in C for most statements: it runs once for every statement of every commit.
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: tuple([given[name] for name in names])


def _files(folder: str) -> list[str]:
    found = resources.files("interlock.store").joinpath("sql", folder)
    return [entry.name.removesuffix(".sql") for entry in found.iterdir() if entry.name.endswith(".sql")]


def _read(folder: str, subject: str) -> dict[str, str]:
    path = resources.files("interlock.store").joinpath("sql", folder, f"{subject}.sql")
    if not path.is_file():
        return {}
    parts = _NAME.split(path.read_text("utf-8"))
    statements: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in statements:
            raise ValueError(f"{folder}/{subject}.sql names {name} twice")
        lines = [line for line in body.strip().splitlines() if not line.startswith("--")]
        statements[name] = "\n".join(lines).strip().rstrip(";")
    return statements


def _listed(found: re.Match[str]) -> str:
    return ", ".join(found[1] + column for column in columns(found[2]))
