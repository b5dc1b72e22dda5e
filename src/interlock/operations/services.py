"""What operations work with: the ports and the few parts above them, put together once."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.engine.start import Starter
from interlock.expressions.environment import Environment
from interlock.ports import Clock, Http, Ids, Store
from interlock.steps.registry import StepRegistry


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to every handler."""

    store: Store
    clock: Clock
    ids: Ids
    http: Http
    starter: Starter
    environment: Environment
    steps: StepRegistry
    page_key: bytes
    """Signs page tokens: they are bound to tenant and query."""
