"""Children: runs that a step of another run starts, in the commit of that step."""

from __future__ import annotations

from typing import ClassVar, Final

from interlock.rules.admit import Newcomer, admit
from interlock.rules.changes import Refused
from interlock.rules.decision import Decision
from interlock.rules.model import MAX_DEPTH, Execution, SecretRef
from interlock.rules.subject import NO_NAMES, SubjectNames
from interlock.rules.values import value


@value(frozen=True, slots=True)
class StartChild:
    """The mutation of a Run automation step: create this child in the parent's commit."""

    name: ClassVar[str] = "start_child"

    id: int
    automation: str
    input: bytes
    output: bytes
    """The output of the step if the child is started."""
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None if `input` masks none."""
    names: SubjectNames = NO_NAMES
    """The subject as the input names it. A secret member names no subject."""


@value(frozen=True, slots=True)
class ChildTarget:
    """The target of a Run automation step, as the transaction reads it."""

    definition: int | None
    """The published definition; None if the target is unknown, deleted or unpublished."""
    on_demand: bool = True
    disabled: bool = False
    """Whether the tenant has disabled automations."""
    paused: bool = False
    """Whether the circuit breaker of the target is open, or this run opens it."""
    names: SubjectNames = NO_NAMES
    """The subject as the context of the published definition names it."""


def admit_child(parent: Execution, child: StartChild, target: ChildTarget, at: int) -> Decision | Refused:
    """Admit a child by the rules for every run, or refuse it.

    Args:
        parent: The run whose step starts the child.
        child: The child to create.
        target: The automation to run, as the transaction reads it.
        at: Engine time in microseconds.

    Returns:
        The decision that creates the child, or the error to record on the step of the parent.
    """
    if target.definition is None:
        return CHILD_MISSING
    if not target.on_demand:
        return CHILD_NOT_ON_DEMAND
    if parent.depth >= MAX_DEPTH:
        return CHILD_TOO_DEEP
    newcomer = Newcomer(
        tenant=parent.tenant,
        id=child.id,
        automation=child.automation,
        definition=target.definition,
        parent=parent.id,
        root=parent.root,
        depth=parent.depth + 1,
        is_draft=parent.is_draft,
    )
    return admit(newcomer, at, disabled=target.disabled, paused=target.paused)


CHILD_MISSING: Final = Refused(
    b'{"code":"CHILD_NOT_FOUND","message":"the automation to run does not exist or is not published"}'
)
CHILD_NOT_ON_DEMAND: Final = Refused(
    b'{"code":"CHILD_NOT_ON_DEMAND","message":"the automation to run has a trigger; only on demand ones can be run"}'
)
CHILD_TOO_DEEP: Final = Refused(
    b'{"code":"CHILD_TOO_DEEP","message":"runs started by runs reached the limit of ten generations; '
    b'do these automations start each other?"}'
)
