"""Fair sharing of slots: the rule alone, and the whole engine over virtual time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.engine.start import StartRequest
from interlock.engine.turns import Limits, Turns
from interlock.ports import AutomationRow, Definition, HttpRequest, HttpResponse, Phase, Progress, WebhookRow
from interlock.rules.model import Ref
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.steps.destination import host_of
from tests.clocks import ManualClock, settle
from tests.engine.worlds import ANN, AUDIT, OK, Engine, FarEnd, engine, restarted, webhook

pytestmark = pytest.mark.anyio

# --- the rule alone ---------------------------------------------------------------------------------------------------


def filled(turns: Turns, tenant: int, host: str) -> int:
    """Return the number of calls that a tenant may make to a host without returning a slot."""
    count = 0
    while turns.free_for(tenant) and turns.free_at(tenant, host):
        turns.take(tenant, host)
        count += 1
    return count


def test_slow_host_gets_most_slots_and_the_next_one_most_of_the_rest() -> None:
    turns = Turns(Limits(512), 10)
    assert [filled(turns, 1, host) for host in ("a", "b", "c")] == [392, 49, 6]
    assert [filled(turns, 2, "d"), filled(turns, 3, "e")] == [50, 12]


@pytest.mark.parametrize("total", range(1, 40))
def test_a_tenant_alone_is_never_without_a_slot(total: int) -> None:
    turns = Turns(Limits(total), 10)
    assert filled(turns, 1, "a") >= max(1, total * 49 // 64 - 1)
    assert total == 1 or filled(turns, 1, "b") >= 1


def test_set_limits_hold_beside_the_fair_share() -> None:
    turns = Turns(Limits(100, per_host=5, per_tenant=8), 10)
    assert [filled(turns, 1, "a"), filled(turns, 1, "b"), filled(turns, 2, "a"), filled(turns, 2, "c")] == [5, 3, 0, 5]


def test_free_slots_go_round_tenants_and_hosts() -> None:
    turns = Turns(Limits(1_000), 1_000)
    for id_ in range(20):
        turns.put(Ref(1, id_), "a")
    turns.put(Ref(1, 100), "b")
    turns.put(Ref(1, 101))
    turns.put(Ref(2, 200), "a")
    order = [turn.ref.id for _ in range(8) if (turn := turns.next()) is not None]
    assert order == [0, 200, 100, 101, 1, 2, 3, 4]


def test_a_full_lane_leaves_room_for_others_and_a_lost_run_always_has_some() -> None:
    turns = Turns(Limits(0), 16)
    put = {host: sum(turns.put(Ref(1, id_ + at), host) for id_ in range(50)) for at, host in ((0, "a"), (100, "b"))}
    assert put == {"a": 8, "b": 4}
    assert turns.put(Ref(2, 900))
    while turns.put(Ref(3, 1_000 + len(turns))):
        pass
    assert len(turns) < 16
    assert turns.put(Ref(3, 5_000), lost=True)


@dataclass
class Model:
    """The slots of each tenant and host, as a model beside the turns under test."""

    turns: Turns
    total: int
    held: list[tuple[Ref, str | None]] = field(default_factory=list)

    def check(self) -> None:
        assert self.turns.used == len(self.held) <= self.total
        tenants = Counter(ref.tenant for ref, _ in self.held)
        hosts = Counter(host for _, host in self.held if host is not None)
        assert dict(self.turns._by_tenant) == dict(tenants)
        assert dict(self.turns._by_host) == dict(hosts)


HOSTS = st.sampled_from(["a", "b", None])


@given(st.data(), st.integers(1, 12))
def test_slots_are_counted_right_and_never_left_idle_for_good(data: st.DataObject, total: int) -> None:
    model = Model(Turns(Limits(total), 20), total)
    turns, number = model.turns, 0
    for _ in range(data.draw(st.integers(0, 60))):
        match data.draw(st.sampled_from(["put", "next", "give back", "move", "forget"])):
            case "put":
                number += 1
                turns.put(Ref(data.draw(st.integers(1, 3)), number), data.draw(HOSTS))
            case "next":
                turn = turns.next()
                if turn is not None:
                    model.held.append((turn.ref, turn.host))
            case "give back" if model.held:
                ref, host = model.held.pop(data.draw(st.integers(0, len(model.held) - 1)))
                turns.give_back(ref.tenant, host)
            case "move" if model.held:
                at = data.draw(st.integers(0, len(model.held) - 1))
                ref, before = model.held[at]
                after = data.draw(HOSTS)
                if turns.move(ref.tenant, before, after):
                    model.held[at] = (ref, after)
            case "forget":
                turns.forget(Ref(data.draw(st.integers(1, 3)), data.draw(st.integers(1, max(number, 1)))))
        model.check()
    # In every case all waiting runs get a slot when slots are returned.
    for _ in range(200):
        while (turn := turns.next()) is not None:
            model.held.append((turn.ref, turn.host))
        if not model.held:
            break
        ref, host = model.held.pop(0)
        turns.give_back(ref.tenant, host)
        model.check()
    assert (len(turns), turns.used, turns.unknown, turns._waiting) == (0, 0, 0, {})


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Far.Example/in", "far.example"),
        ("https://u:p@far.example:8443/in", "far.example:8443"),
        ("https://[::1]:80/", "[::1]:80"),
        ("https://far.example:443/in", "far.example"),
        ("http://far.example:80/in", "far.example"),
        ("http://far.example:443/in", "far.example:443"),
        ("https://far.example./in", "far.example"),
        ("https://far.example:99999/in", None),
        ("https://[::1", None),
        ("nonsense", None),
    ],
)
def test_host_of_a_url(url: str, host: str | None) -> None:
    assert host_of(url) == host


# --- the whole engine -------------------------------------------------------------------------------------------------


class Remotes(FarEnd):
    """Receivers that answer after a time; None for never."""

    def __init__(self, **delays: float | None) -> None:
        super().__init__()
        self.delays = delays
        self.clock: ManualClock | None = None
        self.made: Counter[str] = Counter()
        self.executions: list[str] = []

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        name = (urlsplit(request.url).hostname or "").partition(".")[0]
        self.made[name] += 1
        self.executions.append(json.loads(request.body)["payload"]["workflowExecutionId"])
        assert self.clock is not None
        progress.phase, progress.bytes_written = Phase.WAITING, len(request.body)
        delay = self.delays[name]
        if delay is None:
            await asyncio.get_running_loop().create_future()
        elif delay:
            await self.clock.sleep_until(self.clock.now() + round(delay * 1_000_000))
        progress.phase, progress.status = Phase.DONE, 200
        return HttpResponse(200, {}, OK)


async def automation(world: Engine, far: Remotes, host: str, *, tenant: int = 0, steps: int = 1) -> tuple[int, str]:
    """Publish an automation that calls a host; return the definition and its id."""
    far.clock = world.clock
    tenant = tenant or world.tenant
    hook = WebhookRow(
        tenant=tenant,
        id=f"hook-{host}",
        document=b"{}",
        url=f"https://{host}.example/in",
        callback_timeout=8 * 24 * 3600,
        created_at=1,
        updated_at=1,
    )
    if await world.store.webhooks.get(tenant, hook.id) is None:
        await world.store.webhooks.create(hook, AUDIT)
    plan = [webhook(f"s{number}") for number in range(steps)]
    for step in plan:
        step["webhook"]["webhookId"] = hook.id
    made = await world.store.automations.create(
        AutomationRow(tenant=tenant, id=host, document=b"{}", version=0, definition=None, created_at=1, updated_at=1),
        Definition(
            tenant=tenant,
            id=0,
            automation=host,
            version=1,
            steps=json.dumps(plan).encode(),
            triggers=b"[]",
            context=None,
            created_at=1,
        ),
        AUDIT,
    )
    assert made.definition is not None
    return made.definition, host


async def begin(world: Engine, made: tuple[int, str], count: int, tenant: int = 0) -> list[Ref]:
    requests = [StartRequest(tenant or world.tenant, made[1], made[0], ANN, {}) for _ in range(count)]
    return [started.execution.ref for started in await asyncio.gather(*map(world.starter.start, requests))]


def states(world: Engine, refs: list[Ref]) -> Counter[State]:
    return Counter(world.state(ref) for ref in refs)


async def test_quick_runs_finish_at_once_beside_six_hundred_slow_ones() -> None:
    far = Remotes(slow=10, quick=0)
    async with engine(far=far, slots=512) as world:
        slow = await begin(world, await automation(world, far, "slow"), 600)
        await settle()
        quick = await begin(world, await automation(world, far, "quick"), 50)
        await settle(200)
        assert states(world, quick) == {State.DONE: 50}
        assert states(world, slow) == {State.PROCESS_STEP: 392, State.PENDING: 208}
        assert world.dispatcher.busy == 392
        await world.clock.pass_time(21)
        assert states(world, slow) == {State.DONE: 600}
        assert far.made == {"slow": 600, "quick": 50}
        assert len(set(far.executions)) == 650


async def test_host_that_never_answers_delays_no_other_tenant_or_host() -> None:
    far = Remotes(never=None, quick=0)
    async with engine(far=far, slots=64) as world:
        dead = await begin(world, await automation(world, far, "never"), 300)
        await settle()
        for name in range(100):
            tenant = (await world.store.access.create_tenant(f"t{name}", (), 1, AUDIT)).id
            refs = await begin(world, await automation(world, far, "quick", tenant=tenant, steps=3), 3, tenant)
            await settle(100)
            assert states(world, refs) == {State.DONE: 3}
        own = await begin(world, await automation(world, far, "quick"), 20)
        await settle(200)
        assert states(world, own) == {State.DONE: 20}
        assert states(world, dead)[State.PROCESS_STEP] == far.made["never"] == 49


async def test_a_hundred_tenants_share_one_slow_host() -> None:
    far = Remotes(slow=10)
    async with engine(far=far, slots=32) as world:
        first = await begin(world, await automation(world, far, "slow"), 100)
        await settle()
        others = []
        for name in range(100):
            tenant = (await world.store.access.create_tenant(f"t{name}", (), 1, AUDIT)).id
            others += await begin(world, await automation(world, far, "slow", tenant=tenant), 1, tenant)
        await settle(200)
        await world.clock.pass_time(45)
        # Many tenants with one run each do not wait for one tenant with a hundred.
        assert states(world, others)[State.DONE] >= 75
        assert states(world, first)[State.DONE] < 100
        await world.clock.pass_time(100)
        assert states(world, [*first, *others]) == {State.DONE: 200}
        assert far.made["slow"] == 200


async def test_runs_that_memory_has_no_room_for_are_found_and_hide_no_others() -> None:
    far = Remotes(slow=10, quick=0)
    async with engine(far=far, slots=8, near=16) as world:
        slow_one, quick_one = await automation(world, far, "slow"), await automation(world, far, "quick")
        slow = await begin(world, slow_one, 300)
        await settle()
        quick = await begin(world, quick_one, 30)
        await world.clock.pass_time(12)
        await settle(2_000)
        assert states(world, quick) == {State.DONE: 30}
        assert world.dispatcher.in_line <= 16
        await world.clock.pass_time(900)
        assert states(world, slow) == {State.DONE: 300}
        assert far.made == {"slow": 300, "quick": 30}


async def test_thousands_of_runs_for_one_host_do_not_hide_another_run() -> None:
    far = Remotes(never=None, quick=0)
    async with engine(far=far, slots=8, near=32) as before:
        dead, one = await automation(before, far, "never"), await automation(before, far, "quick")
        await begin(before, dead, 2_500)
        before.dispatcher.take_no_more()
        quick = await begin(before, one, 1)
        assert states(before, quick) == {State.PENDING: 1}
        async with restarted(before, slots=8, near=32) as world:
            await world.clock.pass_time(3)
            assert states(world, quick) == {State.DONE: 1}
            assert world.dispatcher.in_line <= 32


async def test_run_that_waits_for_a_slot_is_terminated_at_once() -> None:
    far = Remotes(never=None)
    async with engine(far=far, slots=2) as world:
        refs = await begin(world, await automation(world, far, "never"), 10)
        await settle()
        waiting = [ref for ref in refs if world.state(ref) is State.PENDING]
        assert len(waiting) == world.dispatcher.in_line == 9
        for ref in waiting:
            assert world.steps(ref) == []
            await world.terminate(ref)
            assert world.state(ref) is State.TERMINATE
        assert world.dispatcher.in_line == 0
        assert far.made["never"] == 1


async def test_settled_step_is_recorded_while_its_next_host_has_no_slot() -> None:
    far = Remotes(slow=10, quick=0)
    async with engine(far=far, slots=4) as world:
        await begin(world, await automation(world, far, "slow"), 6)
        await automation(world, far, "quick")
        await settle()
        plan: Any = [webhook("a"), webhook("b", {"ok": "{{ ctx.a.response.ok }}"})]
        plan[0]["webhook"]["webhookId"], plan[1]["webhook"]["webhookId"] = "hook-quick", "hook-slow"
        ref = await world.start(await world.publish(plan, id="both"), automation="both")
        row = world.row(ref)
        assert (row.state, row.step, far.made["quick"]) == (State.PENDING, 1, 1)
        assert [step.outcome for step in world.steps(ref)] == [Outcome.SUCCEEDED]
        async with restarted(world, slots=4) as after:
            await after.clock.pass_time(40)
            assert after.state(ref) is State.DONE
            assert far.made["quick"] == 1
