"""If a caller is cancelled at any await of a start, the announced attempt is performed and no slot is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from anyio.lowlevel import checkpoint

from interlock.engine.plans import Plans
from interlock.engine.start import Starter, StartRequest
from interlock.engine.turns import Limits
from interlock.ports import Idempotency, WebhookRow
from interlock.rules.states import IN_FLIGHT, TERMINAL
from interlock.store.sqlite.store import SqliteStore
from simulation.reads import finished
from tests.clocks import FixedChance, ManualClock, SequentialIds, settle
from tests.engine.worlds import ANN, AUDIT, ENVIRONMENT, VAULT, Engine, FarEnd, evaluate, webhook

pytestmark = pytest.mark.anyio

T = TypeVar("T")

TURNS_OF_A_COMMIT = 3
MAX_TURNS_OF_A_START = 60


class DelayedOffload:
    """Does the work at once and returns its result some turns of the loop later, as a thread would."""

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        self._report(work(), then, TURNS_OF_A_COMMIT)

    def _report(self, result: T, then: Callable[[T], None], turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._report, result, then, turns - 1)
        else:
            then(result)

    def close(self) -> None: ...


class Suspending:
    """A port whose coroutine functions suspend before and after their work."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        async def suspended(*args: Any, **named: Any) -> Any:
            await checkpoint()
            result = await method(*args, **named)
            await checkpoint()
            return result

        return suspended


Starts = Callable[[Engine], Starter]


def embedded(world: Engine) -> Starter:
    """Return a starter with ports whose reads do not suspend, and no compiled automation."""
    plans = Plans(world.store.automations, world.registry, ENVIRONMENT)
    return Starter(world.store.executions, plans, world.dispatcher, world.clock, world.ids, VAULT)


def suspending(world: Engine) -> Starter:
    """Return a starter with ports that suspend in each call."""
    plans = Plans(Suspending(world.store.automations), world.registry, ENVIRONMENT)
    executions: Any = Suspending(world.store.executions)
    return Starter(executions, plans, world.dispatcher, world.clock, world.ids, VAULT)


@dataclass(frozen=True)
class Case:
    """One path of a start."""

    name: str
    steps: Sequence[dict[str, Any]]
    slots: int | Limits = 256
    already_calling: int = 0
    """The number of runs whose calls are in flight when the start begins."""
    is_compiled: bool = True
    key: str | None = None
    is_repeated: bool = False
    """Whether an earlier start has used the idempotency key."""
    is_deleted: bool = False

    def __str__(self) -> str:
        return self.name


SIZE = "size(ctx.trigger.name) + 1"

CASES = (
    Case("announces a call", [webhook("a"), webhook("b")]),
    Case("has a key", [webhook("a")], key="first"),
    Case("repeats a key", [webhook("a")], key="first", is_repeated=True),
    Case("compiles first", [webhook("a")], is_compiled=False),
    Case("ends at once", [evaluate("e", n="1")]),
    Case("needs an evaluator process", [evaluate("e", n=SIZE), webhook("a", {"n": "{{ ctx.e.n }}"})]),
    Case("has no slot", [webhook("a")], slots=1, already_calling=1),
    Case("waits for its host", [webhook("a")], slots=Limits(8, per_host=1), already_calling=1),
    Case("is refused in the commit", [webhook("a")], is_deleted=True),
)


async def a_world(directory: Path, case: Case) -> Engine:
    store = SqliteStore(directory, offload=DelayedOffload())
    tenant = await store.access.create_tenant("default", ("localhost",), 1, AUDIT)
    hook = WebhookRow(
        tenant=tenant.id,
        id="hook",
        document=b"{}",
        url="https://remote.example/in",
        callback_timeout=3600,
        created_at=1,
        updated_at=1,
    )
    await store.webhooks.create(hook, AUDIT)
    world = Engine(
        store,
        ManualClock(),
        FarEnd(),
        tenant.id,
        SequentialIds(),
        FixedChance(),
        slots=case.slots,  # type: ignore[arg-type]
        addressing=Suspending,
    )
    await world.up()
    return world


async def cancelled_after(turns: int, start: Awaitable[Any]) -> bool:
    """Cancel the start after a number of turns of the loop; return whether it had ended before."""
    task = asyncio.ensure_future(start)
    for _ in range(turns):
        await checkpoint()
    had_ended = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return had_ended


def assert_performed(world: Engine) -> None:
    """Assert that each run in flight has an open call and a slot, and that no other slot is in use."""
    in_flight = finished(world.store.executions.in_flight(100))
    assert len(world.far.open) == len(in_flight)
    assert world.dispatcher.busy == len(in_flight)


async def answer_all(world: Engine) -> None:
    while world.far.open:
        for call in world.far.open:
            call.answer()
        await settle()


@pytest.mark.parametrize("starter", [embedded, suspending])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_cancelled_start_leaves_no_attempt_unperformed(case: Case, starter: Starts, tmp_path: Path) -> None:
    world = await a_world(tmp_path, case)
    definition = await world.publish(case.steps)
    other = await world.publish([webhook("a")], id="other")

    def request(automation: str, definition: int, key: Idempotency | None = None) -> StartRequest:
        return StartRequest(world.tenant, automation, definition, ANN, {"name": "x"}, idempotency=key)

    starts = starter(world)
    if case.is_compiled:
        await world.start(definition, {"name": "x"})
        await answer_all(world)
    created = 0
    for turns in count():
        assert turns < MAX_TURNS_OF_A_START
        if not case.is_compiled:
            starts = starter(world)
        for _ in range(case.already_calling):
            await world.starter.start(request("other", other))
        key = None
        if case.key is not None:
            key = Idempotency(key=case.key if case.is_repeated else f"{case.key}-{turns}", body=b"body")
        if case.is_repeated:
            await starts.start(request("auto", definition, key))
        if case.is_deleted:
            await world.store.automations.delete(world.tenant, "auto", world.clock.now(), AUDIT)
        await settle()
        before = len(finished(world.store.executions.page(world.tenant, limit=1000)))
        had_ended = await cancelled_after(turns, starts.start(request("auto", definition, key)))
        await settle()
        assert_performed(world)
        await answer_all(world)
        await world.clock.pass_time(30)
        await answer_all(world)
        rows = finished(world.store.executions.page(world.tenant, limit=1000))
        created += len(rows) - before
        assert all(row.state in TERMINAL for row in rows)
        assert world.dispatcher.busy == 0
        assert not [row for row in rows if row.state in IN_FLIGHT]
        if had_ended:
            break
    assert turns >= TURNS_OF_A_COMMIT, "the start never suspended"
    if not case.is_repeated and not case.is_deleted:
        assert created >= TURNS_OF_A_COMMIT, "no cancellation came between the commit and its answer"
    await world.down()
    await world.store.close()
