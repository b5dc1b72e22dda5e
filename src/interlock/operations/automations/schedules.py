"""The next time of a published schedule, read from the triggers of its definition."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

from interlock.contract.base import LATER
from interlock.contract.triggers import AutomationTrigger
from interlock.errors import FailedPrecondition
from interlock.operations.services import Services
from interlock.ports import Definition

_TRIGGERS: Final = TypeAdapter(tuple[AutomationTrigger, ...], config=LATER)


async def next_fire_at(services: Services, definition: Definition, after: int) -> int | None:
    """Return the first time after `after` at which the definition starts a run by itself; None if it never does.

    Raises:
        FailedPrecondition: The triggers of the definition cannot be compiled on this server.
        Unavailable: There is no process to compile their expressions.
    """
    try:
        triggers = _TRIGGERS.validate_json(definition.triggers)
    except ValidationError as error:
        raise FailedPrecondition(f"definition {definition.id} cannot be read: {error.error_count()} errors") from error
    compiled = await services.environment.compiled(lambda known: services.triggers.compile(triggers, known))
    findings = compiled.problems + compiled.unavailable
    if findings:
        raise FailedPrecondition(problems=findings)
    return compiled.next_fire_at(after)
