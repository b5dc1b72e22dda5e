"""Operations on the settings of a tenant: the switch "disable automations", and retention."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Final

from interlock.contract.times import Duration
from interlock.errors import InvalidArgument, NotFound, Problem
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services
from interlock.operations.settings.views import Settings, SettingsResponse, UpdateSettingsRequest
from interlock.ports import AuditEntry, TenantSettings
from interlock.rules.model import SECOND

DAY: Final = 86_400 * SECOND
MIN_RETENTION: Final = DAY
MAX_RETENTION: Final = 3_650 * DAY


async def get(services: Services, call: Call, body: None) -> Answer:
    """Return the settings of the caller's tenant."""
    return Answer(SettingsResponse(settings=_shown(await _read(services, call))))


async def update(services: Services, call: Call, body: UpdateSettingsRequest) -> Answer:
    """Change the settings in the request.

    Raises:
        InvalidArgument: A retention is outside its range.
    """

    def change(before: TenantSettings) -> tuple[TenantSettings, AuditEntry]:
        after = _changed(before, body)
        _check(after)
        details = json.dumps({"before": asdict(before), "after": asdict(after)}, separators=(",", ":")).encode()
        return after, AuditEntry(
            actor=call.actor, action="settings.update", target=f"tenant:{call.tenant.id}", details=details
        )

    after = await services.store.access.change_settings(call.tenant.id, change, services.clock.now())
    return Answer(SettingsResponse(settings=_shown(after)))


def _changed(before: TenantSettings, body: UpdateSettingsRequest) -> TenantSettings:
    after = before
    if body.given("automations_disabled"):
        after = replace(after, automations_disabled=body.automations_disabled)
    if body.execution_retention is not None:
        after = replace(after, executions_kept=body.execution_retention.nanos // 1000)
    if body.payload_retention is not None:
        after = replace(after, payloads_kept=body.payload_retention.nanos // 1000)
    return after


async def _read(services: Services, call: Call) -> TenantSettings:
    found = await services.store.access.settings(call.tenant.id)
    if found is None:
        raise NotFound
    return found


def _shown(found: TenantSettings) -> Settings:
    return Settings(
        automations_disabled=found.automations_disabled,
        execution_retention=Duration.of_nanos(found.executions_kept * 1000),
        payload_retention=Duration.of_nanos(found.payloads_kept * 1000),
    )


def _check(settings: TenantSettings) -> None:
    """Raise InvalidArgument if a retention is out of its range, or payloads are kept longer than their executions."""
    problems = [
        Problem(
            field, f"must be between {MIN_RETENTION // SECOND}s (a day) and {MAX_RETENTION // SECOND}s (3,650 days)"
        )
        for field, length in (
            ("executionRetention", settings.executions_kept),
            ("payloadRetention", settings.payloads_kept),
        )
        if not MIN_RETENTION <= length <= MAX_RETENTION
    ]
    if not problems and settings.payloads_kept > settings.executions_kept:
        problems.append(Problem("payloadRetention", "must not be longer than executionRetention"))
    if problems:
        raise InvalidArgument(problems=tuple(problems))
