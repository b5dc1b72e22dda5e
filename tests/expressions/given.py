"""What the tests of expressions share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from interlock.expressions.context import Context
from interlock.expressions.environment import Environment, Scope
from interlock.expressions.failures import Origin
from interlock.expressions.names import Kind, Place
from interlock.expressions.worker import own_none

# These tests evaluate in their own process, which has to survive the nulls of thousands of examples.
own_none()

NOW: Final = datetime(2026, 6, 10, 14, 30, tzinfo=UTC)
ENVIRONMENT: Final = Environment()


def context(**ctx: object) -> Context:
    return Context(ctx, NOW, subject={"id": "u1", "status": "ENABLED"})


def evaluate(source: str, values: Mapping[str, object] | None = None, kind: Kind = Kind.ANY) -> object:
    return ENVIRONMENT.compile(source, kind).evaluate(context(**(values or {})))


def scope(step: str = "here", before: str = "", later: str = "", place: Place = Place.STEP) -> Scope:
    return Scope(place, Origin("field", step), frozenset(before.split()), frozenset(later.split()))
