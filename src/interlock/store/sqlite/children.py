"""Children in SQLite: the applier of `StartChild`, and the names in the context of stored automations."""

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
    """Create the child if it may be started."""
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
    """Return the automation to run, and the decision of its circuit breaker; None if it has none."""
    found = await tx.one("child_target", definition=parent.definition, tenant=parent.tenant, automation=automation)
    # The answer for an app that the publisher had no right to is the same as for an unknown automation.
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
    """Return the names of the subject in the stored context of an automation."""
    if context is None:
        return NO_NAMES
    try:
        stored = json.loads(context)
    except (ValueError, RecursionError):
        # The run itself ends with the reason: its automation cannot be compiled.
        return NO_NAMES
    return subject_names(stored.get("context")) if isinstance(stored, dict) else NO_NAMES
