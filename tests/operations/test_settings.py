"""What is set for all runs of a tenant."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import InvalidArgument, PermissionDenied
from interlock.ports import Role
from tests.operations.desk import CALL, WAIT, Desk

pytestmark = pytest.mark.anyio

DEFAULTS = {"automationsDisabled": False, "executionRetention": "34128000s", "payloadRetention": "7776000s"}


async def change(ann: Desk, **fields: Any) -> Any:
    return (await ann.ask("OwnUpdateSettings", fields)).body["settings"]


async def test_they_have_defaults_and_only_what_is_given_changes(ann: Desk) -> None:
    assert (await ann.ask("OwnGetSettings")).body["settings"] == DEFAULTS
    assert await change(ann, payloadRetention="86400s") == {**DEFAULTS, "payloadRetention": "86400s"}
    assert (await ann.ask("OwnGetSettings")).body["settings"] == {**DEFAULTS, "payloadRetention": "86400s"}
    (entry,) = await ann.audited("settings.update")
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
async def test_lengths_without_sense_are_refused(ann: Desk, fields: dict[str, str], wrong: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await change(ann, **fields)
    assert [problem.field for problem in refused.value.problems] == [wrong]
    assert (await ann.ask("OwnGetSettings")).body["settings"] == DEFAULTS


async def test_with_the_switch_on_new_runs_end_at_once_and_those_under_way_at_their_next_step(ann: Desk) -> None:
    automation = await ann.make({"stepName": "pause", "waitForDuration": {"duration": "60s"}}, WAIT)
    under_way = await ann.start(automation)
    await change(ann, automationsDisabled=True)
    late = await ann.start(automation)
    assert [await ann.state(run) for run in (under_way, late)] == ["WAITING", "TERMINATE"]
    await ann.wait(61)
    assert await ann.state(under_way) == "TERMINATE"
    assert (await ann.detail(under_way))["termination"]["cause"] == "tenant_switch"
    await change(ann, automationsDisabled=False)
    assert await ann.state(await ann.start(automation)) == "WAITING"


async def test_a_reader_may_look_and_not_change(ann: Desk) -> None:
    bob = ann.with_role(Role.READ_ONLY)
    assert (await bob.ask("OwnGetSettings")).body["settings"] == DEFAULTS
    with pytest.raises(PermissionDenied):
        await change(bob, automationsDisabled=True)


async def test_a_tenants_settings_are_its_own(ann: Desk) -> None:
    eve = await ann.of_another_tenant()
    await change(eve, automationsDisabled=True)
    automation = await ann.make(WAIT, CALL)
    assert await ann.state(await ann.start(automation)) == "WAITING"
