"""runAutomation: start another automation and go on. The child is created in the parent's commit: once, or never."""

from __future__ import annotations

from functools import partial
from typing import Self

from interlock.contract.steps import RunAutomation
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.expressions.template import Template
from interlock.ports import Ids, Place
from interlock.rules.children import StartChild
from interlock.rules.events import Change
from interlock.rules.model import Ref
from interlock.rules.subject import UNUSABLE_SUBJECT, subject_names, unusable_subject
from interlock.steps.documents import StepFailed, encode, encode_made
from interlock.steps.kind import (
    CompileContext,
    Form,
    PrepareContext,
    Ready,
    Step,
    StepKind,
    reference,
    step_kind,
    units,
)
from interlock.steps.masking import MASK
from interlock.steps.targets import Resource, Target


class RunAutomationStep(Step[RunAutomation]):
    """Starts the automation `target`, an id or the expression that gives one; `data` becomes its trigger data."""

    kind = "runAutomation"
    form = Form.TRANSACTIONAL

    def __init__(self, target: str | Program, data: Template, ids: Ids) -> None:
        self.target = target
        self.data = data
        self.units = units(target, data)
        self._ids = ids

    @classmethod
    def compile(cls, message: RunAutomation, context: CompileContext, *, ids: Ids) -> Self | None:
        target: str | Program | None
        if message.automation_template_id_cel is not None:
            target = context.expression(message.automation_template_id_cel, Kind.STRING, "automationTemplateIdCel")
        else:
            target = reference(message.automation_template_ref) or None
            if target is not None:
                context.names(Target(Resource.AUTOMATION, target), "automationTemplateRef.id")
            else:
                context.problem("", "automationTemplateRef.id or automationTemplateIdCel is required")
        given = message.context.context if message.context is not None else None
        data = context.tree(given or {}, "context.context")
        return None if target is None or data is None else cls(target, data, ids)

    @classmethod
    def account(cls, output: object) -> str | None:
        named = output.get("execution_id") if isinstance(output, dict) else None
        return f"Done: it started {f'execution {named}' if named else 'another execution'}."

    async def prepare(self, context: PrepareContext) -> Ready:
        target = self.target
        if not isinstance(target, str):
            target = await context.text(target, "automationTemplateIdCel")
        data = await context.render(self.data)
        wrong = unusable_subject(data) if isinstance(data, dict) else None
        if wrong is not None:
            raise StepFailed(
                "INVALID_SUBJECT", f"context.context.{wrong} {UNUSABLE_SUBJECT}", field=f"context.context.{wrong}"
            )
        masked = context.masked(self.data, data)
        shown = data if masked is None else masked.shown
        input_ = encode({"automationTemplateId": MASK if context.hides(self.target) else target, "context": shown})
        id_, given, sealed, named = self._ids.execution(), encode_made(data), None, data
        if masked is not None:
            sealed = context.vault.seal(Place.trigger(Ref(context.ref.tenant, id_)), given, masked.secret)
            given = encode(shown)
            if isinstance(data, dict):
                # The subject is stored and asked for in the clear: a secret names none.
                named = {name: None if name in masked.secret else value for name, value in data.items()}
        output = encode({"execution_id": str(id_)})
        child = StartChild(id_, target, given, output, sealed, subject_names(named))
        return Change(context.position, child, input_, context.passed)


def kind(ids: Ids) -> StepKind:
    """The kind; `ids` gives each child its id before the commit that creates it."""
    return step_kind(RunAutomationStep, RunAutomation, partial(RunAutomationStep.compile, ids=ids))
