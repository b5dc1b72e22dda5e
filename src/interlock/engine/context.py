"""What the expressions of a run may read: its trigger data, and the output of each completed step.

Assembled from the store when a run is taken on, and extended in place while the same process carries it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from interlock.engine.plans import Plan
from interlock.expressions.context import Context
from interlock.ports import Place, Revealed, Run, Vault
from interlock.steps.documents import decode
from interlock.steps.masking import NO_SECRETS, Secrets

TRIGGER: Final = "trigger"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(at: int) -> datetime:
    """A time in microseconds as expressions see it."""
    return _EPOCH + at * _MICROSECOND


def trigger_of(defaults: Mapping[str, object], given: object) -> Mapping[str, object]:
    """`ctx.trigger`: what a run was started with, laid over the automation's own context, member by member."""
    members = given if isinstance(given, Mapping) else {}
    return {**defaults, **members} if defaults else members


class RunContext:
    """The `ctx` of one run, and which members in it are secret."""

    __slots__ = ("_context", "_ctx", "secrets")

    def __init__(self, plan: Plan, trigger: Mapping[str, object]) -> None:
        self._ctx: dict[str, object] = {TRIGGER: trigger_of(plan.defaults, trigger)}
        self._context: Context | None = None
        self.secrets: Secrets = NO_SECRETS

    def hide(self, name: str, members: frozenset[str]) -> None:
        """These members of a step, or of `trigger`, are secret."""
        if members:
            self.secrets |= {(name, member) for member in members}

    def add(self, name: str, output: object, secret: frozenset[str] = frozenset()) -> None:
        """A step has completed; these members of its output are secret."""
        self.hide(name, secret)
        if self._context is not None:
            # Whoever holds the context given out before must not see it change.
            self._ctx = {**self._ctx, name: output}
            self._context = None
        else:
            self._ctx[name] = output

    def at(self, moment: int) -> Context:
        """For expressions evaluated at `moment` (microseconds); the same one until a step is added."""
        if self._context is None:
            self._context = Context(self._ctx, instant(moment))
        return self._context


def assemble(plan: Plan, run: Run, vault: Vault) -> RunContext:
    """The context of a run as it stands in the store, with its secrets. Raises Unreadable, SecretUnreadable."""
    ref = run.execution.ref
    given = Revealed(run.input, frozenset())
    if run.sealed_input is not None:
        given = vault.reveal(Place.trigger(ref), run.sealed_input)
    trigger = decode(given.document)
    context = RunContext(plan, trigger if isinstance(trigger, dict) else {})
    context.hide(TRIGGER, given.secret)
    for position, shown in run.outputs:
        output = Revealed(shown, frozenset())
        if position in run.sealed_outputs:
            output = vault.reveal(Place.output(ref, position), run.sealed_outputs[position])
        context.add(plan.steps[position].name, decode(output.document), output.secret)
    return context
