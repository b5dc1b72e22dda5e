"""The context of a run: its trigger data and the output of each completed step, which expressions read as `ctx`.

It is assembled from the store when the run is loaded, and extended while the same process advances the run.
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
    """Return a time in microseconds as the `datetime` that expressions read."""
    return _EPOCH + at * _MICROSECOND


def trigger_of(defaults: Mapping[str, object], given: object) -> Mapping[str, object]:
    """Return `ctx.trigger`: the automation's own context, with the members that the run was started with on top."""
    members = given if isinstance(given, Mapping) else {}
    return {**defaults, **members} if defaults else members


class RunContext:
    """The `ctx` of one run, and the names of its secret members."""

    __slots__ = ("_context", "_ctx", "secrets")

    def __init__(self, plan: Plan, trigger: Mapping[str, object]) -> None:
        self._ctx: dict[str, object] = {TRIGGER: trigger_of(plan.defaults, trigger)}
        self._context: Context | None = None
        self.secrets: Secrets = NO_SECRETS

    def hide(self, name: str, members: frozenset[str]) -> None:
        """Mark members of a step's output, or of `trigger`, as secret."""
        if members:
            self.secrets |= {(name, member) for member in members}

    def add(self, name: str, output: object, secret: frozenset[str] = frozenset()) -> None:
        """Add the output of a completed step, with the names of its secret members."""
        self.hide(name, secret)
        if self._context is not None:
            # An evaluation that still reads the previous context must not see it change.
            self._ctx = {**self._ctx, name: output}
            self._context = None
        else:
            self._ctx[name] = output

    def at(self, moment: int) -> Context:
        """Return the context for an evaluation at `moment` (microseconds); the same object until a step is added."""
        if self._context is None:
            self._context = Context(self._ctx, instant(moment))
        return self._context


def assemble(plan: Plan, run: Run, vault: Vault) -> RunContext:
    """Assemble the context of a stored run, with its secrets.

    Raises:
        Unreadable: A stored document cannot be decoded.
        SecretUnreadable: A stored secret cannot be opened.
    """
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
