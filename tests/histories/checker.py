"""Is a history linearizable? The search of Wing and Gong, with memory: no set of operations is looked at twice in the
same state of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from tests.histories.model import Kind, Operation, Run, after


@dataclass(frozen=True, slots=True)
class Finding:
    """What the search came to. `order` is a right order of the operations, or the longest one that was right so far."""

    linearizable: bool
    order: tuple[Operation, ...]
    state: Run


def check(history: Sequence[Operation], initial: Run = Run()) -> Finding:  # noqa: B008 - immutable
    """Look for an order in which each operation with an answer could have had it, between its call and its return."""
    operations = sorted(history, key=lambda operation: operation.called)
    required = sum(1 << place for place, operation in enumerate(operations) if not operation.is_open)
    stack: list[tuple[int, Run, tuple[int, ...]]] = [((1 << len(operations)) - 1, initial, ())]
    known = {stack[0][:2]}
    longest = stack[0]
    while stack:
        left, run, order = entry = stack.pop()
        if len(order) > len(longest[2]):
            longest = entry
        if not left & required:
            return Finding(True, tuple(operations[place] for place in order), run)
        for place, following in _next(operations, left, run):
            entry = (left & ~(1 << place), following, (*order, place))
            if entry[:2] not in known:
                known.add(entry[:2])
                stack.append(entry)
    return Finding(False, tuple(operations[place] for place in longest[2]), longest[1])


def _next(operations: Sequence[Operation], left: int, run: Run) -> list[tuple[int, Run]]:
    """Which operations may come next, and the run after each. None may come before one that had returned by its call.

    One that leaves the run as it is may as well come at once: that hinders no other, so it is the only choice then.
    """
    found: list[tuple[int, Run]] = []
    earliest = inf
    for place, operation in enumerate(operations):
        if not left >> place & 1:
            continue
        if operation.called > earliest:
            break
        earliest = min(earliest, operation.returned)
        following = after(run, operation)
        if following is None or (following == run and operation.is_open):
            continue
        if following == run:
            return [(place, run)]
        found.append((place, following))
    # What was called later than the earliest return must not come first: the loop broke before it.
    return found


def told(history: Sequence[Operation], finding: Finding) -> str:
    """The history for a person: by the time of the calls, in microseconds, with the order that the search got to."""
    begin = min(operation.called for operation in history if operation.called > -inf)
    places = {id(operation): place for place, operation in enumerate(finding.order, 1)}
    lines = ["    call   return  client  order  operation"]
    for operation in sorted(history, key=lambda operation: operation.called):
        since, until = (_micros(at, begin) for at in (operation.called, operation.returned))
        place, client = places.get(id(operation), "-"), "" if operation.client < 0 else operation.client
        what = [str(operation.kind), *(_words(part) for part in (operation.argument, operation.result) if part)]
        lines.append(f"{since:>8} {until:>8}  {client:>6}  {place:>5}  {' → '.join(what)}")
    return "\n".join([*lines, f"after the last one in order: {_words(finding.state)}"])


def _words(part: object) -> str:
    """A message without its empty fields."""
    if not isinstance(part, tuple):
        return str(part)
    return ", ".join(_words(value) for value in part if value)


def _micros(at: float, begin: float) -> str:
    return "" if at in {inf, -inf} else f"{(at - begin) / 1000:.0f}"


OF_ITS_OWN_ACCORD = (Operation(Kind.SETTLE, -inf), Operation(Kind.FINISH, -inf))
"""Belongs to every history: once, at a time of its own choosing, the server settles a cut attempt, or finishes."""
