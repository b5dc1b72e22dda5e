"""One small change to a named SQL statement at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tools.mutants.operators import Mutant

SWAPS: Final = (
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>])<(?![=>])", "<="),
    (r"(?<![<>])>(?!=)", ">="),
    (r"<>", "="),
    (r"\bNOT IN\b", "IN"),
    (r"\bAND NOT\b", "AND"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bAND\b", "OR"),
    (r"\bOR\b(?! IGNORE)", "AND"),
    (r"\bmin\(", "max("),
    (r"\bDISTINCT ", ""),
    (r"\bTHEN 0 ELSE 1\b", "THEN 1 ELSE 0"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"\bLIMIT :?\w+", ""),
    (r"\bORDER BY [\w., ]+?(?= LIMIT|\n|$)", ""),
    (r"'PROCESS_STEP'", "'WAITING'"),
    (r"'STOPPING'", "'WAITING'"),
    (r"'(?:DONE|ERROR|TERMINATE)'", "'WAITING'"),
    (r"'interrupt'", "'drain'"),
    (r"'drain'", "'interrupt'"),
    (r"'ABANDONED'", "'NOT_STARTED'"),
)
"""What stands in a statement, and what to put there instead."""


@dataclass(frozen=True, slots=True)
class StatementMutant:
    """One change of a statement. `module` is that of its file, `function` is its name."""

    module: str
    function: str
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}: {self.before} => {self.after}"


AnyMutant = Mutant | StatementMutant


def statement_mutants(module: str, statements: dict[str, str]) -> list[StatementMutant]:
    """Every mutant of the statements of a file."""
    found = {}
    for name, text in statements.items():
        for start, end, other in _changes(text):
            around = slice(max(0, start - 30), end + 30)
            changed = text[:start] + other + text[end:]
            before = " ".join(text[around].split())
            after = " ".join((text[around.start : start] + other + text[end : around.stop]).split())
            if changed.split() != text.split():
                found[name, before, after] = StatementMutant(module, name, before, after, changed)
    return list(found.values())


def _changes(text: str) -> Iterator[tuple[int, int, str]]:
    for pattern, other in SWAPS:
        for match in re.finditer(pattern, text):
            yield match.start(), match.end(), other
    for match in re.finditer(r"\bAND\b", text):
        end = match.end() + _length_of_condition(text[match.end() :])
        # A condition with a parameter still has to take it.
        yield match.start(), end, "AND ? IS NOT NULL" if "?" in text[match.end() : end] else ""


def _length_of_condition(text: str) -> int:
    """How far a condition goes: to the next one, to the next clause, or to the bracket that closes around it."""
    depth = 0
    for match in re.finditer(r"[()]|\b(?:AND|OR|THEN|GROUP|LIMIT|ORDER|UNION)\b", text):
        token = match.group()
        if token == "(":
            depth += 1
        elif depth == 0:
            return match.start()
        elif token == ")":
            depth -= 1
    return len(text)
