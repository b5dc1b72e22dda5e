"""The dependencies of operations: the ports and the parts above them, assembled once."""

from __future__ import annotations

from dataclasses import field

from interlock.auth.tenants import PublicUrls
from interlock.engine.feed import Feed
from interlock.engine.start import Starter
from interlock.expressions.environment import Environment
from interlock.expressions.evaluate import Evaluator
from interlock.ports import Clock, Http, Ids, Randomness, Store, Vault
from interlock.rules.values import value
from interlock.steps.registry import StepRegistry
from interlock.triggers.registry import TriggerRegistry


@value(frozen=True, slots=True)
class PlanFacts:
    """The facts of a definition that every view of a run shows. `version` is 0 for a draft."""

    version: int
    empty: bool
    unusable_subject: str | None = None
    """The member of its context that names the subject of its runs and is not a valid id, if there is one."""


@value(frozen=True, slots=True)
class Services:
    """The dependencies that every handler receives."""

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
    """Reports commits of the store, so that a delayed answer is sent as soon as its commit is made."""
    page_key: bytes
    """Signs page tokens, which are bound to tenant and query."""
    callback_secret: bytes
    """Signs callback URLs; the steps have the same."""
    urls: PublicUrls
    """The public URL of each tenant; the steps have the same."""
    vault: Vault
    """Seals documents that hold secrets; the engine has the same."""
    installation: str
    """Identifies this installation in idempotency keys; the steps have the same."""
    plans: dict[tuple[int, int], PlanFacts] = field(default_factory=dict)
    """Cached facts of definitions by (tenant, id); a definition never changes."""
