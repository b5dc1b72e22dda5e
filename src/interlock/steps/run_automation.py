"""runAutomation: start another automation and go on. The child is created in the parent's commit: once, or never."""

from __future__ import annotations

from typing import Self

from interlock.contract.steps import RunAutomation
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.expressions.template import Template
from interlock.ports import Ids
from interlock.rules.events import Change, StartChild
from interlock.rules.subject import REFUSAL, unusable_subject
from interlock.steps.documents import StepFailed, encode, encode_made
from interlock.steps.kind import Drafting, Form, Moment, Ready, Step, StepEnvironment, reference, units
from interlock.steps.masking import MASK


class RunAutomationStep(Step):
    """Starts the automation `target`, an id or the expression that gives one; `context` becomes its trigger data."""

    kind = "runAutomation"
    form = Form.TRANSACTIONAL
    when_interrupted = "Before its commit there is no child; after it the child is a run of its own (see cascade)."

    def __init__(self, target: str | Program, context: Template, ids: Ids) -> None:
        self.target = target
        self.context = context
        self.units = units(target, context)
        self._ids = ids

    @classmethod
    def compile(cls, message: RunAutomation, drafting: Drafting, environment: StepEnvironment) -> Self | None:
        target: str | Program | None
        if message.automation_template_id_cel is not None:
            target = drafting.checker.expression(
                message.automation_template_id_cel,
                Kind.STRING,
                field=f"{drafting.field}.automationTemplateIdCel",
                step=drafting.name,
            )
        else:
            target = reference(message.automation_template_ref) or None
            if target is None:
                drafting.problem("", "automationTemplateRef.id or automationTemplateIdCel is required")
        given = message.context.context if message.context is not None else None
        context = drafting.checker.tree(given or {}, field=f"{drafting.field}.context.context", step=drafting.name)
        return None if target is None or context is None else cls(target, context, environment.ids)

    async def prepare(self, moment: Moment) -> Ready:
        target = self.target
        if not isinstance(target, str):
            target = await moment.text(target, "automationTemplateIdCel")
        context = await moment.render(self.context)
        wrong = unusable_subject(context) if isinstance(context, dict) else None
        if wrong is not None:
            raise StepFailed("INVALID_SUBJECT", f"context.context.{wrong} {REFUSAL}", field=f"context.context.{wrong}")
        masked = moment.masked(self.context, context)
        shown = encode(
            {
                "automationTemplateId": MASK if moment.hides(self.target) else target,
                "context": context if masked is None else masked,
            }
        )
        shown_context = None if masked is None else encode(masked)
        child = StartChild(self._ids.execution(), target, encode_made(context), shown_context)
        output = encode({"execution_id": str(child.id)})
        return Change(moment.position, child, shown, output, moment.passed)
