"""Converts stored records to the messages of C1's API."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from interlock.contract.automations import Automation, DisabledReasonCircuitBreaker
from interlock.contract.base import from_stored, with_fields
from interlock.contract.enums import AUTOMATION_EXECUTION_STATE, TRIGGER_TYPE
from interlock.contract.executions import AutomationExecution
from interlock.contract.refs import AutomationContext
from interlock.contract.times import Duration, Timestamp
from interlock.contract.triggers import TRIGGER_TYPES, AutomationTrigger
from interlock.engine.plans import defaults_of
from interlock.operations.services import PlanFacts, Services
from interlock.operations.views import ActorView
from interlock.ports import AutomationRow, Definition, Reads
from interlock.rules.breaker import Trip
from interlock.rules.model import Actor, Execution
from interlock.rules.states import State
from interlock.rules.subject import unusable_subject
from interlock.rules.values import value
from interlock.steps.documents import Unreadable, decode

_PREFIX: Final = "AUTOMATION_EXECUTION_STATE_"
_PLANS_KEPT: Final = 10_000
BREAKER_PERIOD: Final = "CIRCUIT_BREAKER_PERIOD_"
"""Prefix of C1's names of breaker periods."""

STATE_NAMES: Final = {state: f"{_PREFIX}{state}" for state in State} | {
    State.STOPPING: f"{_PREFIX}{State.PROCESS_STEP}"
}
"""C1's names of our states; C1 has none for STOPPING."""

_STORED: Final[dict[str, tuple[State, ...]]] = {
    **dict.fromkeys(AUTOMATION_EXECUTION_STATE.values, ()),
    **{f"{_PREFIX}{state}": (state,) for state in State if state is not State.STOPPING},
    f"{_PREFIX}{State.PROCESS_STEP}": (State.PROCESS_STEP, State.STOPPING),
}


def states_of(names: Iterable[str]) -> tuple[State, ...] | None:
    """Return the stored states of C1's names; None if there is no name, and () for names of states that no run has."""
    wanted = [name for name in names if name != AUTOMATION_EXECUTION_STATE.zero]
    return tuple(dict.fromkeys(state for name in wanted for state in _STORED[name])) if wanted else None


def moment(at: int | None) -> Timestamp | None:
    """Convert a time in microseconds to a timestamp."""
    return None if at is None else Timestamp.of_micros(at)


def actor(found: Actor) -> ActorView:
    return ActorView(client=found.client, principal=found.principal, address=found.address)


def length(microseconds: int) -> Duration:
    return Duration.of_nanos(microseconds * 1000)


async def plan_facts(services: Services, tenant: int, definition: int) -> PlanFacts:
    """Return the facts of a definition, from the cache if it has them."""
    known = services.plans
    facts = known.get((tenant, definition))
    if facts is None:
        found = await services.store.automations.definition(tenant, definition)
        facts = PlanFacts(0, True)
        if found is not None:
            facts = PlanFacts(found.version, found.steps == b"[]", _unusable_subject(found))
        if len(known) >= _PLANS_KEPT:
            known.clear()
        known[tenant, definition] = facts
    return facts


async def execution(services: Services, row: Execution, input: bytes | None = None) -> AutomationExecution:
    """Convert a run to C1's message. `input` is its trigger data, if the message is to show it."""
    ended = row.completed_at
    return AutomationExecution(
        id=row.id,
        automation_template_id=row.automation,
        current_version=(await plan_facts(services, row.tenant, row.definition)).version,
        is_draft=row.is_draft,
        state=STATE_NAMES[row.state],
        context=None if input is None else _context(input),
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        completed_at=moment(ended),
        duration=None if ended is None else length(max(0, ended - row.created_at)),
    )


def _unusable_subject(definition: Definition) -> str | None:
    try:
        return unusable_subject(defaults_of(definition))
    except Unreadable:
        return None


def _context(input: bytes) -> AutomationContext | None:
    """Return the data that a run was started with; None if they cannot be decoded."""
    try:
        return AutomationContext(context=decode(input))
    except Unreadable:
        return None


@value(frozen=True, slots=True)
class Activity:
    """When automations were last executed, and which of their circuit breakers have tripped."""

    last_executed: Mapping[str, int]
    trips: Mapping[str, Trip]


async def activity(services: Services, tenant: int, automations: Sequence[str]) -> Activity:
    """Return the activity of the automations of one page."""
    store = services.store
    return Activity(
        await store.executions.last_executed(tenant, automations), await store.breakers.trips(tenant, automations)
    )


async def one_automation(services: Services, row: AutomationRow) -> Automation:
    """Convert one automation to C1's message, and read its activity."""
    return automation(row, await activity(services, row.tenant, (row.id,)))


def automation(row: AutomationRow, active: Activity) -> Automation:
    """Convert an automation to C1's message; `active` contains at least its activity."""
    stored = from_stored(Automation, row.document)
    return with_fields(
        stored,
        id=row.id,
        current_version=row.version,
        primary_trigger_type=primary_trigger_type(stored.triggers or stored.draft_triggers),
        created_at=moment(row.created_at),
        last_executed_at=moment(active.last_executed.get(row.id)),
        circuit_breaker=_tripped(active.trips.get(row.id)),
    )


async def automation_name(reads: Reads, row: Execution) -> str:
    """Return the name of a run's automation, "" if it is deleted."""
    return (await automation_names(reads, row.tenant, (row.automation,)))[row.automation]


async def automation_names(reads: Reads, tenant: int, automations: Collection[str]) -> dict[str, str]:
    """Return the names of automations by id, "" for deleted ones, in one read."""
    found = await reads.automations.get_many(tenant, tuple(automations))
    return {
        id_: from_stored(Automation, found[id_].document).display_name if id_ in found else "" for id_ in automations
    }


def _tripped(trip: Trip | None) -> DisabledReasonCircuitBreaker | None:
    if trip is None:
        return None
    return DisabledReasonCircuitBreaker(
        observed_count=trip.count,
        period=f"{BREAKER_PERIOD}{trip.period or 'UNSPECIFIED'}",
        threshold=trip.maximum,
        tripped_at=moment(trip.at),
    )


def primary_trigger_type(triggers: Iterable[AutomationTrigger]) -> str:
    """Return C1's type of the first trigger; starting on demand has none."""
    for trigger in triggers:
        if (kind := trigger.kind) is not None:
            return TRIGGER_TYPES[kind[0]]
    return TRIGGER_TYPE.zero


def stored_triggers(document: dict[str, Any]) -> str:
    """Return the `primary_trigger_type` of a stored document without parsing it as a message."""
    for trigger in document.get("triggers") or document.get("draftTriggers") or ():
        for kind in trigger:
            if kind in TRIGGER_TYPES:
                return TRIGGER_TYPES[kind]
    return TRIGGER_TYPE.zero
