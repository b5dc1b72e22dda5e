"""Converts rows of the execution tables to records of the rules and the ports; `rowset` converts records to rows."""

from __future__ import annotations

from typing import Any, Final

from interlock.ports import ItemRow, StepRow
from interlock.rules.model import (
    Actor,
    AttemptRef,
    CalledStep,
    Cause,
    Execution,
    KeptCallback,
    Mode,
    Result,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State, WaitingFor
from interlock.store.statements import columns

Row = tuple[Any, ...]

LARGEST = 2**63 - 1
"""Greater than every id and every number."""

EXECUTION: Final = columns("execution")
_WIDTH: Final = len(EXECUTION)
_STATE, _WAITS, _DRAFT = (EXECUTION.index(name) for name in ("state", "waiting_for", "is_draft"))
_STATES = {state.value: state for state in State}
_REACHED: dict[str | None, Reached | None] = {None: None, **{member.value: member for member in Reached}}
_WAITING: dict[str | None, WaitingFor | None] = {None: None, **{member.value: member for member in WaitingFor}}
_OUTCOMES: dict[str | None, Outcome | None] = {None: None, **{member.value: member for member in Outcome}}


def execution(row: Row) -> Execution:
    """Return a run from its columns, without those that follow. They are the fields of a run in their order."""
    values = list(row[:_WIDTH])
    values[_STATE] = _STATES[values[_STATE]]
    values[_WAITS] = _WAITING[values[_WAITS]]
    values[_DRAFT] = bool(values[_DRAFT])
    return Execution(*values)


def step(row: Row) -> StepRow:
    """Return an attempt at a step from the columns of `steps_of`."""
    (
        position,
        attempt,
        epoch,
        started_at,
        settled_at,
        outcome,
        waiting_for,
        input_,
        output,
        error,
        status,
        phase,
        late,
        key,
        reached,
        handle,
        wait_left,
    ) = row
    return StepRow(
        position=position,
        attempt=attempt,
        epoch=epoch,
        started_at=started_at,
        settled_at=settled_at,
        outcome=_OUTCOMES[outcome],
        waiting_for=_WAITING[waiting_for],
        input=input_,
        output=output,
        error=error,
        status=status,
        phase=phase,
        late=late,
        key=key,
        reached=_REACHED[reached],
        handle=handle,
        wait_left=wait_left,
    )


def item(row: Row) -> ItemRow:
    """Return an item from the columns of `items_of` and `items_of_step`."""
    position, attempt, number, name, outcome, settled_at, output, error, reached, again, sealed = row
    return ItemRow(
        position=position,
        attempt=attempt,
        item=number,
        name=name,
        outcome=_OUTCOMES[outcome],
        settled_at=settled_at,
        output=output,
        error=error,
        reached=_REACHED[reached],
        again=bool(again),
        sealed=sealed,
    )


def outcome(value: str | None) -> Outcome | None:
    return _OUTCOMES[value]


def kept_callback(row: Row) -> KeptCallback:
    """Return a stored callback from the columns of `callback_kept`."""
    at, output, status, sealed = row
    return KeptCallback(at, Result(Outcome.SUCCEEDED, output, status=status, sealed=sealed))


def called_step(position: int, row: Row) -> CalledStep:
    """Return the called step from the columns of `step_newest`."""
    attempt, epoch, outcome_, late = row
    return CalledStep(AttemptRef(position, attempt, epoch), _OUTCOMES[outcome_], bool(late))


def termination(row: Row) -> Termination:
    """Return a termination from the columns of `termination_get`."""
    client, principal, address, reason, asked, cascade, deadline, cause, cause_execution, *rest = row
    accepted_at, deadline_at, mode, found, below = rest
    request = TerminationRequest(
        Actor(client, address, principal), reason, Mode(asked), bool(cascade), deadline, Cause(cause), cause_execution
    )
    return Termination(request, accepted_at, deadline_at, Mode(mode), _STATES[found], below)
