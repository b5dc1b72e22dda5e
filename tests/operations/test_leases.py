"""A run with a lease is terminated unless a client renews the lease in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.engine import jobs
from interlock.engine.supervisor import Supervisor
from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.clocks import settle
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient

pytestmark = pytest.mark.anyio


@pytest.fixture
async def kept(admin: OperationsClient) -> AsyncIterator[OperationsClient]:
    """With the job at work that ends leases."""
    clock = admin.engine.clock
    task = asyncio.ensure_future(Supervisor(clock).keep(jobs.leases(admin.services.store, clock)))
    await settle()
    yield admin
    task.cancel()
    await asyncio.wait((task,))


async def leased(admin: OperationsClient, *steps: object, lease: str = "60s", **trigger: Any) -> int:
    automation = await admin.make(*(steps or (WAIT,)))
    body = {"lease": lease, "context": {"context": trigger}}
    reply = await admin.ask("ExecuteAutomation", body, id=automation)
    await settle()
    return int(reply.body["executionId"])


async def renew(admin: OperationsClient, run: int, **body: Any) -> Any:
    return (await admin.ask("OwnRenewLease", body, id=run)).body


async def test_a_run_whose_lease_expires_is_terminated_like_any_other(kept: OperationsClient) -> None:
    run = await leased(kept)
    await kept.wait(59)
    assert await kept.state(run) == "WAITING"
    await kept.wait(1)
    assert await kept.state(run) == "TERMINATE"
    termination = (await kept.detail(run))["termination"]
    assert (termination["cause"], termination["reason"]) == ("lease_expired", "the lease expired")
    (entry,) = await kept.audited("execution.terminate")
    assert entry.actor.client == "system"


async def test_an_attempt_in_flight_is_cut(kept: OperationsClient) -> None:
    run = await leased(kept, CALL)
    assert await kept.state(run) == "PROCESS_STEP"
    await kept.wait(60)
    assert await kept.state(run) == "TERMINATE"


async def test_renewing_lets_it_go_on_for_as_long_again_or_for_another_length(kept: OperationsClient) -> None:
    run = await leased(kept)
    await kept.wait(50)
    first = await renew(kept, run)
    await kept.wait(50)
    assert await kept.state(run) == "WAITING"
    second = await renew(kept, run, lease="3600s")
    assert second["expiresAt"] > first["expiresAt"]
    await kept.wait(3_599)
    assert await kept.state(run) == "WAITING"
    await kept.wait(1)
    assert await kept.state(run) == "TERMINATE"


async def test_a_shorter_lease_made_later_is_not_overslept(kept: OperationsClient) -> None:
    long, short = await leased(kept, lease="3600s"), await leased(kept, lease="5s")
    await kept.wait(5)
    assert [await kept.state(run) for run in (long, short)] == ["WAITING", "TERMINATE"]


async def test_a_run_that_ended_before_stays_as_it_ended(kept: OperationsClient) -> None:
    run = await leased(kept, GREET, name="Ann")
    await kept.wait(60)
    assert await kept.state(run) == "DONE"
    assert await kept.services.store.leases.next() is None


async def test_a_lease_that_expired_while_the_server_was_away_is_ended_at_its_start(admin: OperationsClient) -> None:
    run = await leased(admin)
    await admin.wait(600)
    assert await admin.state(run) == "WAITING"
    await jobs.expire(admin.services.store, admin.engine.clock)
    assert await admin.state(run) == "TERMINATE"


async def test_without_a_lease_there_is_nothing_to_renew(admin: OperationsClient) -> None:
    without = await admin.start(await admin.make(WAIT))
    ended = await leased(admin, GREET, name="Ann")
    for run in (without, ended):
        with pytest.raises(FailedPrecondition, match="no lease"):
            await renew(admin, run)
    with pytest.raises(NotFound):
        await renew(await admin.of_another_tenant(), without)


@pytest.mark.parametrize("lease", ["0s", "0.5s", "2592001s", "-1s"])
async def test_a_length_without_sense_is_refused(admin: OperationsClient, lease: str) -> None:
    with pytest.raises(InvalidArgument, match="lease"):
        await leased(admin, lease=lease)
