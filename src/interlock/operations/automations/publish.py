"""Checks before an automation is published, and the definition that publishing creates.

A published automation must not fail at run time for a reason that was known at publication. A draft may contain
anything; our own view of the automation shows the problems that prevent its publication.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Final

from interlock.contract.automations import Automation
from interlock.contract.base import Message, to_stored
from interlock.errors import FailedPrecondition, InvalidArgument, Problem
from interlock.operations.operation import Call
from interlock.operations.scope import visible
from interlock.operations.services import Services
from interlock.ports import AutomationRow, Definition
from interlock.rules.subject import UNUSABLE_SUBJECT, unusable_subject
from interlock.rules.values import value
from interlock.steps.targets import NamedTarget, Resource, is_usable
from interlock.triggers.registry import TriggerCompilation

MAX_STEPS: Final = 250
_OUT_OF_REACH: Final = {
    Resource.AUTOMATION: "must be an automation of an app that the caller administers",
    Resource.WEBHOOK: "must be a webhook with an app of the caller's in its appIds",
}


@value(frozen=True, slots=True)
class Findings:
    """The problems that prevent the publication of an automation."""

    problems: tuple[Problem, ...]
    """Problems that the author has to fix."""
    unavailable: tuple[Problem, ...]
    """Valid parts that cannot run on this server."""
    started: TriggerCompilation | None = None
    """The compiled triggers; None if they were not compiled."""

    def next_fire_at(self, after: int) -> int | None:
        """Return the first time after `after` at which the triggers start a run by themselves."""
        return None if self.started is None else self.started.next_fire_at(after)

    @property
    def on_demand(self) -> bool:
        """Whether no trigger starts a run by itself, so that other automations may start the automation."""
        return self.started is None or self.started.on_demand

    def refuse(self) -> None:
        """Raise if there are findings.

        Raises:
            InvalidArgument: There are problems to fix; the error lists all findings.
            FailedPrecondition: Some part cannot run on this server; a draft may contain it.
        """
        if self.problems:
            raise InvalidArgument(problems=self.problems + self.unavailable)
        if self.unavailable:
            raise FailedPrecondition(problems=self.unavailable)


async def check(
    services: Services, call: Call, automation: Automation, *, draft: bool = False, prefix: str = ""
) -> Findings:
    """Check the steps and triggers that the caller would publish.

    Args:
        services: The dependencies of the handlers.
        call: The request, for the apps of its caller.
        automation: The automation to check.
        draft: Whether to check its draft instead of its published steps and triggers.
        prefix: Prefix of the paths in the findings.
    """
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
    out_of_reach = [problem async for problem in _out_of_reach(services, call, compiled.targets)]
    problems = (*compiled.problems, *started.problems, *out_of_reach)
    context = automation.context.context if automation.context is not None else None
    if (wrong := unusable_subject(context or {})) is not None:
        problems = (*problems, Problem(f"{prefix}context.context.{wrong}", UNUSABLE_SUBJECT))
    return Findings(problems, compiled.unavailable + started.unavailable, started)


async def _out_of_reach(services: Services, call: Call, targets: Iterable[NamedTarget]) -> AsyncIterator[Problem]:
    """Yield the targets of steps that a caller with access to some apps only may not use.

    A target that an expression computes is checked when the step runs, against the apps of the publisher.
    """
    if call.apps is None:
        return
    for named in targets:
        target = named.target
        match target.resource:
            case Resource.AUTOMATION:
                within = await visible(services.store, call, target.id)
            case Resource.WEBHOOK:
                within = is_usable(await services.store.webhooks.get(call.tenant.id, target.id), call.apps)
        if not within:
            yield Problem(named.field, _OUT_OF_REACH[target.resource], named.step)


def definition_of(
    call: Call, row: AutomationRow, automation: Automation, at: int, *, draft: bool = False, on_demand: bool = True
) -> Definition:
    """Return the definition of the published or draft steps and triggers, limited to the apps of the caller.

    The store assigns its id and version. `on_demand` is `Findings.on_demand`.
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
        on_demand=on_demand,
    )


def differs(definition: Definition, published: Definition | None) -> bool:
    """Whether publishing would change new runs. An empty definition does not differ from no published one."""
    if published is None:
        return definition.steps != b"[]"
    return (definition.steps, definition.triggers, definition.context) != (
        published.steps,
        published.triggers,
        published.context,
    )


def _stored(messages: Iterable[Message]) -> bytes:
    return b"[" + b",".join(map(to_stored, messages)) + b"]"
