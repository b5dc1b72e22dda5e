"""The situation of a run: the one place that reads the facts by which the rules decide an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from interlock.rules.admit import SWITCHED_OFF
from interlock.rules.events import (
    CalledBack,
    Event,
    ItemSettled,
    Polled,
    Prepared,
    Recovered,
    Released,
    Settled,
    Woken,
)
from interlock.rules.model import (
    CalledStep,
    Execution,
    KeptCallback,
    Ref,
    Situation,
    Termination,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.store import rows
from interlock.store.sqlite import stops
from interlock.store.tx import Tx

_STARTS_SOMETHING: Final = frozenset({Polled, Prepared, Settled, Woken})
_COVERED: Final = _STARTS_SOMETHING | {CalledBack, ItemSettled, Recovered, Released}
"""Events after which a run that a cascade or the tenant's switch covers must not continue."""
_ABOUT_ITEMS: Final = frozenset({ItemSettled, Recovered})


async def situation_of(
    tx: Tx, ref: Ref, event: Event, *, disabled: Callable[[int], bool], full: bool
) -> Situation | None:
    """Read the situation of a run, as far as the decision about an event depends on it.

    Args:
        disabled: Returns whether the switch "disable automations" of a tenant is on.
        full: Whether the disk is full, so that nothing new may start.

    Returns:
        None if there is no such run.
    """
    row = await tx.one("execution_get", tenant=ref.tenant, id=ref.id)
    if row is None:
        return None
    execution = rows.execution(row)
    kind = type(event)
    return Situation(
        execution,
        await _termination(tx, execution) if execution.state is State.STOPPING else None,
        await _items(tx, execution) if kind in _ABOUT_ITEMS else (),
        await _fence(tx, execution, disabled) if kind in _COVERED else None,
        hold=full and kind in _STARTS_SOMETHING,
        callback=await _callback(tx, execution) if execution.in_flight else None,
        called=await _called(tx, ref, event),
    )


async def _termination(tx: Tx, execution: Execution) -> Termination | None:
    found = await tx.one("termination_get", tenant=execution.tenant, execution=execution.id)
    return None if found is None else rows.termination(found)


async def _items(tx: Tx, execution: Execution) -> tuple[tuple[int, Outcome | None], ...]:
    """Return the items of the attempt in flight, with their outcomes."""
    found = await tx.all(
        "items_of_attempt",
        tenant=execution.tenant,
        execution=execution.id,
        position=execution.step,
        attempt=execution.attempt,
    )
    return tuple((item, rows.outcome(outcome)) for item, outcome in found)


async def _fence(tx: Tx, execution: Execution, disabled: Callable[[int], bool]) -> TerminationRequest | None:
    """Return the termination that covers the run and has not reached it yet; None if there is none."""
    if execution.parent is not None:
        found = await tx.one("root_fenced", tenant=execution.tenant, id=execution.root)
        if found is not None and found[0]:
            over = await stops.order_over(tx, execution)
            if over is not None:
                return over
    return SWITCHED_OFF if disabled(execution.tenant) else None


async def _callback(tx: Tx, execution: Execution) -> KeptCallback | None:
    """Return the callback that arrived during the attempt in flight."""
    found = await tx.one("callback_kept", tenant=execution.tenant, execution=execution.id, position=execution.step)
    return None if found is None else rows.kept_callback(found)


async def _called(tx: Tx, ref: Ref, event: Event) -> CalledStep | None:
    """The newest attempt at the step that a callback or the result of a poll belongs to."""
    if isinstance(event, CalledBack):
        position = event.position
    elif isinstance(event, Polled):
        position = event.attempt.position
    else:
        return None
    found = await tx.one("step_newest", tenant=ref.tenant, execution=ref.id, position=position)
    return None if found is None else rows.called_step(position, found)
