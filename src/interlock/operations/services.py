"""What operations work with: the ports and the few parts above them, put together once."""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.auth.tenants import PublicUrls
from interlock.engine.feed import Feed
from interlock.engine.start import Starter
from interlock.expressions.environment import Environment
from interlock.expressions.evaluate import Evaluator
from interlock.ports import Clock, Http, Ids, Randomness, Store
from interlock.steps.registry import StepRegistry
from interlock.triggers.registry import TriggerRegistry


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The little of a definition that every view of a run shows. `version` is 0 for a draft's."""

    version: int
    empty: bool
    unusable_subject: str | None = None
    """The member of its context that should name the subject of its runs and cannot."""


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to every handler."""

    store: Store
    clock: Clock
    ids: Ids
    chance: Randomness
    http: Http
    starter: Starter
    environment: Environment
    evaluator: Evaluator
    steps: StepRegistry
    triggers: TriggerRegistry
    feed: Feed
    """Follows the store, so that a held answer goes out with the commit it waits for."""
    page_key: bytes
    """Signs page tokens: they are bound to tenant and query."""
    callback_secret: bytes
    """Signs callback URLs: the same as for the steps."""
    urls: PublicUrls
    """Where each tenant is reached: the same as for the steps."""
    installation: str
    """Names this installation in idempotency keys: the same as for the steps."""
    plans: dict[tuple[int, int], PlanFacts] = field(default_factory=dict)
    """What is asked of definitions again and again, by (tenant, id); they never change."""
