"""Runs that steps of other runs start, in the commit of the step: whether they may start, and how they are let in."""

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
    """What the step returns if the child is started."""
    sealed: SecretRef | None = None
    """The input with the secrets that `input` masks; None: it masks none."""
    names: SubjectNames = NO_NAMES
    """What the input says of the subject. A secret names none."""


@value(frozen=True, slots=True)
class ChildTarget:
    """What a Run automation step finds when it looks for its target, inside the transaction."""

    definition: int | None
    """The published definition, or None: unknown, deleted, or nothing published."""
    on_demand: bool = True
    disabled: bool = False
    """The tenant's switch "disable automations" is on."""
    paused: bool = False
    """The target's circuit breaker is open, or this run trips it."""
    names: SubjectNames = NO_NAMES
    """What the context of the published definition says of the subject."""


def admit_child(parent: Execution, child: StartChild, target: ChildTarget, at: int) -> Decision | Refused:
    """Let a child in by the rules for every run, or say why it cannot be started."""
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
