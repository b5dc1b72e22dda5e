"""The data that a command prints on stdout: a table on a terminal, JSON lines otherwise."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from interlock.cli.failures import Exit, Failure
from interlock.cli.streams import reader_has_left
from interlock.cli.terminal import json_text, one_line, say

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], object]]
Form = Literal["table", "json", "ids"]


def print_rows(form: Form, rows: Iterable[Row], columns: Sequence[Column], ident: str) -> int:
    """Print rows, and return their number. `ident` is the member that the format `ids` prints."""
    if form == "table":
        return _print_table(list(rows), columns)
    count = 0
    for row in rows:
        say(one_line(row.get(ident, "")) if form == "ids" else compact(row))
        count += 1
        if reader_has_left():
            break
    return count


def print_object(form: Form, value: Row, ident: str) -> None:
    """Print an object: indented on a terminal, on one line otherwise."""
    if form == "table":
        say(json_text(json.dumps(value, indent=2, ensure_ascii=False)))
    else:
        print_rows(form, [value], (), ident)


def compact(value: object) -> str:
    """Return JSON on one line; characters that could control a terminal are escaped."""
    return json_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def _print_table(rows: list[Row], columns: Sequence[Column]) -> int:
    if not rows:
        return 0
    lines = [[title for title, _ in columns]]
    lines += [[_cell(value(row)) for _, value in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    return len(rows)


def _cell(value: object) -> str:
    return "" if value is None else one_line(value)


def instant(text: object) -> str:
    """Return an RFC 3339 time without its fraction."""
    value = str(text or "")
    head, dot, tail = value.partition(".")
    return head + tail.lstrip("0123456789") if dot else value


STATE_PREFIX = "AUTOMATION_EXECUTION_STATE_"


def short_state(state: object) -> str:
    """Return a state without the prefix of the wire format."""
    return str(state or "").removeprefix(STATE_PREFIX)


STATES = (
    "PENDING",
    "WAITING",
    "PROCESS_STEP",
    "PAUSED_BY_CIRCUIT_BREAKER",
    "DONE",
    "ERROR",
    "TERMINATE",
    "CREATING",
    "GET_STEP",
    "COMPLETE_STEP",
)
"""The states of C1's API, without their prefix."""
STOPPING = "STOPPING"
"""The state of ours that C1's API has no name for. Receipts, `watch` and `terminate` print it."""


def long_state(text: str) -> str:
    """Return the wire name of a state from any case, with or without the prefix.

    Raises:
        Failure: The state is unknown.
    """
    short = text.upper().replace("-", "_").removeprefix(STATE_PREFIX)
    if short == STOPPING:
        raise Failure(f"--state: C1's API shows {STOPPING} as PROCESS_STEP; use --state PROCESS_STEP", Exit.USAGE)
    if short not in STATES:
        raise Failure(f"--state: unknown state {text!r}; use one of {', '.join(STATES)}", Exit.USAGE)
    return STATE_PREFIX + short
