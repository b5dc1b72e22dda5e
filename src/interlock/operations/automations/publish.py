"""What has to hold before an automation is published, and the definition that comes of it.

Nothing that is published may fail at run time for a reason that could be known before. A draft may hold anything; it is
stored as it is, and what would keep it from being published is shown in our own view of it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from interlock.contract.automations import Automation
from interlock.contract.base import Message, to_stored
from interlock.contract.steps import AutomationStep
from interlock.errors import FailedPrecondition, InvalidArgument, Problem
from interlock.operations.operation import Call
from interlock.operations.scope import visible
from interlock.operations.services import Services
from interlock.ports import AutomationRow, Definition
from interlock.rules.subject import REFUSAL, unusable_subject
from interlock.steps.kind import reference
from interlock.steps.webhook import usable

MAX_STEPS: Final = 250


@dataclass(frozen=True, slots=True)
class Findings:
    """What keeps an automation from being published."""

    problems: tuple[Problem, ...]
    """What must be mended."""
    unavailable: tuple[Problem, ...]
    """What is valid, and cannot run on this server yet."""

    def refuse(self) -> None:
        """
        Raises:
            InvalidArgument: something must be mended; all findings are told.
            FailedPrecondition: something cannot run here yet; it can be kept in a draft.
        """
        if self.problems:
            raise InvalidArgument(problems=self.problems + self.unavailable)
        if self.unavailable:
            raise FailedPrecondition(problems=self.unavailable)


async def check(
    services: Services, call: Call, automation: Automation, *, draft: bool = False, prefix: str = ""
) -> Findings:
    """Look at the published or the draft pair, as published by the caller. `prefix` begins the paths of findings."""
    steps = automation.draft_automation_steps if draft else automation.automation_steps
    triggers = automation.draft_triggers if draft else automation.triggers
    steps_field = f"{prefix}{'draftAutomationSteps' if draft else 'automationSteps'}"
    if len(steps) > MAX_STEPS:
        return Findings((Problem(steps_field, f"has {len(steps)} steps; at most {MAX_STEPS} are allowed"),), ())
    triggers_field = f"{prefix}{'draftTriggers' if draft else 'triggers'}"
    compiled = await services.environment.compiled(lambda known: services.steps.compile(steps, known, steps_field))
    started = await services.environment.compiled(
        lambda known: services.triggers.compile(triggers, known, triggers_field)
    )
    out_of_reach = [problem async for problem in _out_of_reach(services, call, steps, steps_field)]
    problems = (*compiled.problems, *started.problems, *out_of_reach)
    context = automation.context.context if automation.context is not None else None
    if (wrong := unusable_subject(context or {})) is not None:
        problems = (*problems, Problem(f"{prefix}context.context.{wrong}", REFUSAL))
    return Findings(problems, compiled.unavailable + started.unavailable)


async def _out_of_reach(
    services: Services, call: Call, steps: Sequence[AutomationStep], field: str
) -> AsyncIterator[Problem]:
    """What the steps name that a caller who is confined to some apps may not use.

    A target that an expression gives is looked at when the run comes to it, with the publisher's apps.
    """
    if call.apps is None:
        return
    for index, step in enumerate(steps):
        started, called = step.run_automation, step.webhook
        target = reference(started.automation_template_ref) if started is not None else ""
        if target and not await visible(services.store, call, target):
            path = f"{field}[{index}].runAutomation.automationTemplateRef.id"
            yield Problem(path, "must be an automation of an app that the caller administers", step.step_name)
        webhook_id = (called.webhook_id or "") if called is not None else ""
        if webhook_id and not usable(await services.store.webhooks.get(call.tenant.id, webhook_id), call.apps):
            path = f"{field}[{index}].webhook.webhookId"
            yield Problem(path, "must be a webhook with an app of the caller's in its appIds", step.step_name)


def definition_of(
    call: Call, row: AutomationRow, automation: Automation, at: int, *, draft: bool = False
) -> Definition:
    """The plan that the published, or the draft, pair makes, with the reach of the caller, who publishes it.

    Its id and version are the store's to say.
    """
    return Definition(
        tenant=row.tenant,
        id=0,
        automation=row.id,
        version=0,
        steps=_stored(automation.draft_automation_steps if draft else automation.automation_steps),
        triggers=_stored(automation.draft_triggers if draft else automation.triggers),
        context=to_stored(automation.context) if automation.context is not None else None,
        created_at=at,
        apps=None if call.apps is None else json.dumps(sorted(call.apps)),
    )


def differs(definition: Definition, published: Definition | None) -> bool:
    """Whether publishing would change what runs. Nothing published, and nothing to publish, is no difference."""
    if published is None:
        return definition.steps != b"[]"
    return (definition.steps, definition.triggers, definition.context) != (
        published.steps,
        published.triggers,
        published.context,
    )


def _stored(messages: Iterable[Message]) -> bytes:
    return b"[" + b",".join(map(to_stored, messages)) + b"]"
