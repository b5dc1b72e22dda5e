"""What is set for all runs of a tenant."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import InvalidArgument, PermissionDenied
from interlock.ports import Role
from tests.operations.operations_client import CALL, WAIT, OperationsClient

pytestmark = pytest.mark.anyio

DEFAULTS = {"automationsDisabled": False, "executionRetention": "34128000s", "payloadRetention": "7776000s"}


async def change(admin: OperationsClient, **fields: Any) -> Any:
    return (await admin.ask("OwnUpdateSettings", fields)).body["settings"]


async def test_they_have_defaults_and_only_what_is_given_changes(admin: OperationsClient) -> None:
    assert (await admin.ask("OwnGetSettings")).body["settings"] == DEFAULTS
    assert await change(admin, payloadRetention="86400s") == {**DEFAULTS, "payloadRetention": "86400s"}
    assert (await admin.ask("OwnGetSettings")).body["settings"] == {**DEFAULTS, "payloadRetention": "86400s"}
    (entry,) = await admin.audited("settings.update")
    assert entry.actor.client == "ann@localhost"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"executionRetention": "3600s"}, "executionRetention"),
        ({"payloadRetention": "0s"}, "payloadRetention"),
        ({"executionRetention": "31536000000s"}, "executionRetention"),
        ({"executionRetention": "864000s"}, "payloadRetention"),
    ],
)
async def test_lengths_without_sense_are_refused(admin: OperationsClient, fields: dict[str, str], wrong: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await change(admin, **fields)
    assert [problem.field for problem in refused.value.problems] == [wrong]
    assert (await admin.ask("OwnGetSettings")).body["settings"] == DEFAULTS


async def test_the_switch_ends_new_runs_immediately_and_active_ones_at_a_step(
    admin: OperationsClient,
) -> None:
    automation = await admin.make({"stepName": "pause", "waitForDuration": {"duration": "60s"}}, WAIT)
    active = await admin.start(automation)
    await change(admin, automationsDisabled=True)
    late = await admin.start(automation)
    assert [await admin.state(run) for run in (active, late)] == ["WAITING", "TERMINATE"]
    await admin.wait(61)
    assert await admin.state(active) == "TERMINATE"
    assert (await admin.detail(active))["termination"]["cause"] == "tenant_switch"
    await change(admin, automationsDisabled=False)
    assert await admin.state(await admin.start(automation)) == "WAITING"


async def test_a_reader_may_look_and_not_change(admin: OperationsClient) -> None:
    bob = admin.with_role(Role.READ_ONLY)
    assert (await bob.ask("OwnGetSettings")).body["settings"] == DEFAULTS
    with pytest.raises(PermissionDenied):
        await change(bob, automationsDisabled=True)


async def test_a_tenants_settings_are_its_own(admin: OperationsClient) -> None:
    eve = await admin.of_another_tenant()
    await change(eve, automationsDisabled=True)
    automation = await admin.make(WAIT, CALL)
    assert await admin.state(await admin.start(automation)) == "WAITING"
