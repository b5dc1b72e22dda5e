"""Rows of the execution tables, to and from the records of the rules and the ports."""

from __future__ import annotations

from typing import Any

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

Row = tuple[Any, ...]

LARGEST = 2**63 - 1
"""Above every id and every number."""

_STATES = {state.value: state for state in State}
_REACHED: dict[str | None, Reached | None] = {None: None, **{member.value: member for member in Reached}}
_WAITING: dict[str | None, WaitingFor | None] = {None: None, **{member.value: member for member in WaitingFor}}
_OUTCOMES: dict[str | None, Outcome | None] = {None: None, **{member.value: member for member in Outcome}}


def execution(row: Row) -> Execution:
    """From the columns of `execution_get`, the mark `fenced` left out."""
    (tenant, id_, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, *rest) = row
    wake_at, holder, created_at, updated_at, completed_at, is_draft, parent, root, depth, *_ = rest
    return Execution(
        tenant,
        id_,
        automation,
        definition,
        _STATES[state],
        epoch,
        step,
        attempt,
        attempt_epoch,
        items,
        _WAITING[waiting_for],
        wake_at,
        holder,
        created_at,
        updated_at,
        completed_at,
        bool(is_draft),
        parent,
        root,
        depth,
    )


def inserted(row: Execution) -> Row:
    """For `execution_insert`, its input left out."""
    return (
        row.tenant,
        row.id,
        row.automation,
        row.definition,
        row.state,
        row.epoch,
        row.step,
        row.attempt,
        row.attempt_epoch,
        row.items,
        row.waiting_for,
        row.wake_at,
        row.holder,
        row.created_at,
        row.updated_at,
        row.completed_at,
        row.is_draft,
        row.parent,
        row.root,
        row.depth,
    )


def moved(was: Execution, row: Execution) -> Row:
    """For `execution_move`."""
    return (
        row.state,
        row.epoch,
        row.step,
        row.attempt,
        row.attempt_epoch,
        row.items,
        row.waiting_for,
        row.wake_at,
        row.holder,
        row.updated_at,
        row.completed_at,
        row.tenant,
        row.id,
        was.epoch,
        was.state,
    )


def stepped(was: Execution, row: Execution) -> Row:
    """For `execution_step`."""
    return (
        row.epoch,
        row.step,
        row.attempt,
        row.attempt_epoch,
        row.items,
        row.holder,
        row.updated_at,
        row.tenant,
        row.id,
        was.epoch,
        was.state,
    )


def step(row: Row) -> StepRow:
    """From the columns of `steps_of`."""
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
    )


def item(row: Row) -> ItemRow:
    """From the columns of `items_of`."""
    position, attempt, number, name, outcome, settled_at, output, error = row
    return ItemRow(
        position=position,
        attempt=attempt,
        item=number,
        name=name,
        outcome=_OUTCOMES[outcome],
        settled_at=settled_at,
        output=output,
        error=error,
    )


def outcome(value: str | None) -> Outcome | None:
    return _OUTCOMES[value]


def kept_callback(row: Row) -> KeptCallback:
    """From the columns of `callback_kept`."""
    at, output, status = row
    return KeptCallback(at, Result(Outcome.SUCCEEDED, output, status=status))


def called_step(position: int, row: Row) -> CalledStep:
    """From the columns of `step_newest`."""
    attempt, epoch, outcome_, late = row
    return CalledStep(AttemptRef(position, attempt, epoch), _OUTCOMES[outcome_], bool(late))


def termination(row: Row) -> Termination:
    """From the columns of `termination_get`."""
    client, principal, address, reason, asked, cascade, deadline, cause, cause_execution, *rest = row
    accepted_at, deadline_at, mode, found, below = rest
    request = TerminationRequest(
        Actor(client, address, principal), reason, Mode(asked), bool(cascade), deadline, Cause(cause), cause_execution
    )
    return Termination(request, accepted_at, deadline_at, Mode(mode), _STATES[found], below)


def order(tenant: int, id_: int, found: Termination) -> Row:
    """For `termination_insert`."""
    request = found.request
    return (
        tenant,
        id_,
        request.actor.client,
        request.actor.principal,
        request.actor.address,
        request.reason,
        request.mode,
        request.cascade,
        request.deadline,
        request.cause,
        request.cause_execution,
        found.accepted_at,
        found.deadline_at,
        found.mode,
        found.found,
    )
