"""The resources that a step names: what publishing checks, and what views show of an attempt.

A kind says what its message and its input name. It does not say who may use it: that is decided where it is used.
"""

from __future__ import annotations

from enum import StrEnum

from interlock.contract import webhooks
from interlock.contract.base import from_stored
from interlock.ports import WebhookRow
from interlock.rules.values import value


class Resource(StrEnum):
    """The resources that steps can name."""

    AUTOMATION = "automation"
    WEBHOOK = "webhook"


@value(frozen=True, slots=True)
class Target:
    """A resource that is named by its id."""

    resource: Resource
    id: str


@value(frozen=True, slots=True)
class NamedTarget:
    """A target that the message of a step names."""

    target: Target
    field: str
    """The path of the member that names it."""
    step: str
    """The name of the step."""


def is_usable(webhook: WebhookRow | None, apps: frozenset[str] | None) -> bool:
    """Return whether steps that were published within these apps may call the webhook; None: within all apps."""
    if webhook is None:
        return False
    if apps is None:
        return True
    return not apps.isdisjoint(from_stored(webhooks.Webhook, webhook.document).app_ids)
