"""Children in SQLite: the applier of `StartChild`, and what stored automations say of the runs that they get."""

from __future__ import annotations

import json

from interlock.rules.changes import Applied, Refused
from interlock.rules.children import ChildTarget, StartChild, admit_child
from interlock.rules.model import Execution
from interlock.rules.states import State
from interlock.rules.subject import NO_NAMES, SubjectNames, subject_names, subject_of
from interlock.store.rowset import rowset_of_new
from interlock.store.sqlite import breakers
from interlock.store.sqlite.mutations import MutationContext
from interlock.store.tx import Tx


async def start_child(context: MutationContext, child: StartChild) -> Applied | Refused:
    """Create the child, if it may be started."""
    tx, parent, at = context.tx, context.execution, context.at
    target, verdict = await _target(tx, parent, child.automation, at)
    admitted = admit_child(parent, child, target, at)
    if isinstance(admitted, Refused):
        return admitted
    row, subject = admitted.execution, subject_of(child.names, target.names)
    await tx.write(rowset_of_new(row, child.input, admitted.records, at, child.sealed, subject))
    if verdict is not None and row.state is not State.TERMINATE:
        await breakers.take(tx, verdict)
    context.effects += admitted.effects
    return Applied(child.output)


async def _target(tx: Tx, parent: Execution, automation: str, at: int) -> tuple[ChildTarget, breakers.Verdict | None]:
    """The automation to run, and what its circuit breaker says; None: it has none."""
    found = await tx.one("child_target", definition=parent.definition, tenant=parent.tenant, automation=automation)
    # An automation of an app that the run's publisher had no right to is told from none in no way.
    if found is None or found[1] is not None or found[0] is None or not found[5]:
        return ChildTarget(None), None
    verdict = None
    if found[4] and not found[3]:
        verdict = await breakers.judge(tx, parent.tenant, automation, at)
    target = ChildTarget(
        found[0],
        on_demand=bool(found[2]),
        disabled=bool(found[3]),
        paused=verdict is not None and verdict.paused,
        names=context_names(found[6]),
    )
    return target, verdict


def context_names(context: bytes | None) -> SubjectNames:
    """What the stored context of an automation says of the subject of its runs."""
    if context is None:
        return NO_NAMES
    try:
        stored = json.loads(context)
    except (ValueError, RecursionError):
        # The run itself ends with the reason: its compiled automation cannot be made.
        return NO_NAMES
    return subject_names(stored.get("context")) if isinstance(stored, dict) else NO_NAMES
