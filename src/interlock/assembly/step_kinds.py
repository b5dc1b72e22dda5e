"""The registration of the step kinds: each kind of this release has one entry in `RELEASED`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from interlock.contract.base import Message
from interlock.ports import Clock, Http, Ids
from interlock.settings import KindSetting
from interlock.steps import evaluate_expressions, run_automation, wait_for_duration, webhook
from interlock.steps.evaluate_expressions import EvaluateExpressionsStep
from interlock.steps.kind import Step, StepKind, UnconfiguredKind
from interlock.steps.run_automation import RunAutomationStep
from interlock.steps.wait_for_duration import WaitForDurationStep
from interlock.steps.webhook import TenantUrls, WebhookAddresses, WebhookStep
from interlock.system import Slices


@dataclass(frozen=True, slots=True, kw_only=True)
class KindParts:
    """The parts of a server that step kinds act on. Each kind is passed only those that its `kind` function names."""

    http: Http
    webhooks: WebhookAddresses
    clock: Clock
    ids: Ids
    urls: TenantUrls
    installation: str
    secret: bytes
    slices: Slices
    settings: Mapping[str, str]
    """The settings of kinds that the operator gave, by name."""


Registered = StepKind | UnconfiguredKind


def webhook_kind(parts: KindParts, step: type[WebhookStep] = WebhookStep) -> Registered:
    """Return the kind of webhook steps; `step` is the class of its steps."""
    return webhook.kind(
        parts.http,
        parts.webhooks,
        clock=parts.clock,
        urls=parts.urls,
        installation=parts.installation,
        secret=parts.secret,
        slices=parts.slices,
        step=step,
    )


Kinds = Mapping[type[Step[Message]], Callable[[KindParts], Registered]]

RELEASED: Final[Kinds] = {
    EvaluateExpressionsStep: lambda parts: evaluate_expressions.kind(),
    RunAutomationStep: lambda parts: run_automation.kind(parts.ids),
    WaitForDurationStep: lambda parts: wait_for_duration.kind(),
    WebhookStep: webhook_kind,
}
"""The class of each kind of this release → the kind on a server. Which of them run depends on its settings."""


def step_kinds(parts: KindParts, kinds: Kinds = RELEASED) -> list[Registered]:
    """Return the kinds for a server with these parts."""
    return [kind(parts) for kind in kinds.values()]


def kind_settings() -> tuple[KindSetting, ...]:
    """Return all settings that the kinds of this release have."""
    return tuple(setting for step in RELEASED for setting in step.settings)
