"""Many executions by one order: looked at first, carried out in batches, followed, aborted."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from interlock.errors import FailedPrecondition, InvalidArgument, NotFound
from interlock.operations.bulk_terminations.handlers import BATCH_EXECUTIONS, terminate_next_batch
from interlock.ports import AuditEntry, ClientRow, Role
from interlock.rules.model import SYSTEM
from tests.clocks import settle
from tests.operations.desk import CALL, GREET, WAIT, Desk, desk

pytestmark = pytest.mark.anyio

KEY = bytes(31) + b"\x02"


@pytest.fixture(autouse=True)
async def known(ann: Desk) -> None:
    """Whoever gives an order is looked up again when it is carried out."""
    await add_client(ann, "ann@localhost", Role.SUPER_ADMIN)


async def add_client(ann: Desk, id_: str, role: Role, apps: tuple[str, ...] = ()) -> None:
    row = ClientRow(
        tenant=ann.tenant.id, id=id_, display_name="", public_key=KEY, roles=(role,), created_at=1, apps=apps
    )
    await ann.services.store.access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target=id_))


async def waiting(ann: Desk, count: int, **fields: Any) -> tuple[str, list[int]]:
    automation = await ann.make(WAIT, **fields)
    return automation, [await ann.start(automation) for _ in range(count)]


async def plan(ann: Desk, **body: Any) -> Any:
    return (await ann.ask("OwnPlanBulkTermination", body)).body


async def order(ann: Desk, **body: Any) -> Any:
    return (await ann.ask("OwnCreateBulkTermination", body)).body["bulkTermination"]


async def look(ann: Desk, id_: str) -> Any:
    return (await ann.ask("OwnGetBulkTermination", id=id_)).body["bulkTermination"]


async def carried_out(ann: Desk, id_: str) -> Any:
    while await terminate_next_batch(ann.services):
        await settle()
    return await look(ann, id_)


def counts(shown: Any) -> list[int]:
    return [shown[name] for name in ("total", "accepted", "repeated", "alreadyFinished", "denied", "notFound")]


async def test_a_plan_says_what_is_done_what_is_in_flight_and_what_waits(ann: Desk) -> None:
    held = await ann.start(await ann.make(WAIT, displayName="Held"))
    called = await ann.start(await ann.make(GREET, CALL, displayName="Called"), name="Ann")
    found = await plan(ann, filter={"allExecutions": True})
    assert found["total"] == 2
    assert found["states"] == [{"state": "PROCESS_STEP", "count": 1}, {"state": "WAITING", "count": 1}]
    shown = {int(row["executionId"]): row for row in found["executions"]}
    assert (shown[called]["doneSteps"], shown[called]["inFlight"]) == (["greet"], "call")
    assert (shown[held]["automationDisplayName"], shown[held]["waitingFor"]) == ("Held", "timer")
    assert [await ann.state(run) for run in (held, called)] == ["WAITING", "PROCESS_STEP"]


async def test_an_order_stops_the_planned_set_and_no_other(ann: Desk) -> None:
    automation, runs = await waiting(ann, 3)
    planned = await plan(ann, filter={"automationTemplateIds": [automation]})
    late = await ann.start(automation)
    given = await order(ann, planId=planned["id"], reason="a flood")
    assert (given["state"], given["total"]) == ("RUNNING", 3)
    done = await carried_out(ann, given["id"])
    assert (done["state"], counts(done)) == ("DONE", [3, 3, 0, 0, 0, 0])
    assert [await ann.state(run) for run in (*runs, late)] == [*["TERMINATE"] * 3, "WAITING"]
    record = (await ann.detail(runs[0]))["termination"]
    assert (record["reason"], record["actor"]["client"], record["cause"]) == ("a flood", "ann@localhost", "person")
    assert len(await ann.audited("terminations.create")) == 1
    assert len(await ann.audited("execution.terminate")) == 3


async def test_what_has_ended_or_is_none_is_counted_as_that(ann: Desk) -> None:
    _, (first, second) = await waiting(ann, 2)
    await ann.ask("TerminateAutomation", id=first)
    done = await ann.start(await ann.make(GREET), name="Ann")
    given = await order(ann, executionIds=[str(first), str(second), str(done), "839265", str(second)])
    assert counts(await carried_out(ann, given["id"])) == [4, 1, 1, 1, 0, 1]


async def test_an_attempt_in_flight_is_cut(ann: Desk) -> None:
    run = await ann.start(await ann.make(CALL))
    given = await order(ann, filter={"states": ["AUTOMATION_EXECUTION_STATE_PROCESS_STEP"]})
    await carried_out(ann, given["id"])
    await settle()
    assert await ann.state(run) == "TERMINATE"


async def test_a_cascade_stops_what_the_named_ones_started(ann: Desk) -> None:
    child, _ = await waiting(ann, 0)
    parent = await ann.start(
        await ann.make({"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": child}}}, WAIT)
    )
    given = await order(ann, executionIds=[str(parent)], cascade=True)
    assert counts(await carried_out(ann, given["id"])) == [1, 1, 0, 0, 0, 0]
    found = (await ann.ask("SearchAutomationExecutions", {"automationTemplateId": child})).body["list"]
    assert [row["automationExecution"]["state"] for row in found] == ["AUTOMATION_EXECUTION_STATE_TERMINATE"]


async def test_a_filter_finds_what_is_old_enough(ann: Desk) -> None:
    automation, (old,) = await waiting(ann, 1)
    await ann.wait(600)
    young = await ann.start(automation)
    planned = await plan(ann, filter={"olderThan": "300s"})
    assert [int(row["executionId"]) for row in planned["executions"]] == [old]
    assert young != old


async def test_new_runs_can_be_held_back_from_the_first_commit_on(ann: Desk) -> None:
    automation, _ = await waiting(ann, 2)
    given = await order(ann, filter={"automationTemplateIds": [automation]}, pauseAutomation=True)
    assert given["pausedAutomations"] == [automation]
    late = await ann.start(automation)
    assert await ann.state(late) == "PAUSED_BY_CIRCUIT_BREAKER"
    await ann.ask("ClearAutomationCircuitBreaker", {"decision": "PAUSED_EXECUTION_DECISION_RUN"}, id=automation)
    await ann.background()
    assert await ann.state(late) == "WAITING"


async def started_beside(ann: Desk, automation: str, turns: int, **body: Any) -> tuple[list[int], str]:
    """An order, and a run that is started in each turn of the loop while it is given; returns those, and the order."""
    begun: list[int] = []

    async def starts() -> None:
        for _ in range(turns):
            reply = await ann.ask("ExecuteAutomation", body, id=automation)
            begun.append(int(reply.body["executionId"]))
            await checkpoint()

    beside = asyncio.ensure_future(starts())
    given = await order(ann, filter={"automationTemplateIds": [automation]}, pauseAutomation=True)
    await beside
    await settle()
    return begun, given["id"]


@pytest.mark.parametrize("turns", range(1, 40, 3))
@pytest.mark.parametrize("draft", [False, True], ids=["published", "draft"])
async def test_no_run_that_is_started_around_an_order_that_pauses_goes_on(ann: Desk, turns: int, draft: bool) -> None:
    """Whenever a run is started, the order stops it, or it is held back: none is at work when the order is done."""
    automation, before = await waiting(ann, 3)
    begun, id_ = await started_beside(ann, automation, turns, isDraft=draft)
    await carried_out(ann, id_)
    states = {run: await ann.state(run) for run in (*before, *begun)}
    assert set(states.values()) <= {"TERMINATE", "PAUSED_BY_CIRCUIT_BREAKER"}
    assert all(states[run] == "TERMINATE" for run in before)


@pytest.mark.parametrize("narrowing", [{"subjectUserIds": ["ann"]}, {"expressionCel": "ctx.trigger.user_id == 'ann'"}])
async def test_an_order_that_names_no_automation_pauses_those_that_it_finds(ann: Desk, narrowing: Any) -> None:
    first, second, other = [await ann.make(WAIT) for _ in range(3)]
    runs = [await ann.start(each, user_id="ann") for each in (first, second)]
    await ann.start(other, user_id="bob")
    given = await order(ann, filter=narrowing, pauseAutomation=True)
    assert sorted(given["pausedAutomations"]) == sorted([first, second])
    await carried_out(ann, given["id"])
    assert [await ann.state(run) for run in runs] == ["TERMINATE", "TERMINATE"]
    assert await ann.state(await ann.start(second)) == "PAUSED_BY_CIRCUIT_BREAKER"
    assert await ann.state(await ann.start(other)) == "WAITING"


async def test_an_automation_without_runs_is_paused_if_it_is_named(ann: Desk) -> None:
    automation = await ann.make(WAIT)
    given = await order(ann, filter={"automationTemplateIds": [automation, "unknown"]}, pauseAutomation=True)
    assert given["pausedAutomations"] == [automation]
    assert await ann.state(await ann.start(automation)) == "PAUSED_BY_CIRCUIT_BREAKER"
    [entry] = await ann.audited("terminations.hold_back")
    assert json.loads(entry.details or b"") == {"automations": [automation]}


async def test_a_filter_that_is_refused_pauses_nothing(ann: Desk) -> None:
    automation, _ = await waiting(ann, 1)
    narrowing = {"automationTemplateIds": [automation], "expressionCel": "ctx."}
    with pytest.raises(InvalidArgument):
        await order(ann, filter=narrowing, pauseAutomation=True)
    assert await ann.state(await ann.start(automation)) == "WAITING"


async def test_a_plan_is_good_once_for_its_maker_and_not_for_long(ann: Desk) -> None:
    await waiting(ann, 1)
    planned = await plan(ann, filter={"allExecutions": True})
    eve = await ann.of_another_tenant()
    for other in (ann.with_role(Role.SUPER_ADMIN), eve):
        with pytest.raises(NotFound):
            await order(other, planId=planned["id"])
    await order(ann, planId=planned["id"])
    with pytest.raises(FailedPrecondition, match="already"):
        await order(ann, planId=planned["id"])
    second = await plan(ann, filter={"allExecutions": True})
    await ann.wait(301)
    with pytest.raises(FailedPrecondition, match="expired"):
        await order(ann, planId=second["id"])
    await ann.services.store.bulk_terminations.forget_plans(ann.engine.clock.now())
    with pytest.raises(NotFound):
        await order(ann, planId=second["id"])


async def test_an_order_can_be_aborted_between_two_batches(ann: Desk) -> None:
    automation = await ann.make(WAIT)
    runs = [await ann.start(automation) for _ in range(BATCH_EXECUTIONS + 2)]
    given = await order(ann, filter={"automationTemplateIds": [automation]})
    assert await terminate_next_batch(ann.services)
    aborted = (await ann.ask("OwnAbortBulkTermination", id=given["id"])).body["bulkTermination"]
    assert (aborted["state"], aborted["accepted"]) == ("ABORTED", BATCH_EXECUTIONS)
    assert not await terminate_next_batch(ann.services)
    assert [await ann.state(run) for run in runs].count("WAITING") == 2
    again = (await ann.ask("OwnAbortBulkTermination", id=given["id"])).body["bulkTermination"]
    assert again == aborted


async def test_an_abort_waits_for_no_batch_but_the_one_under_way(ann: Desk) -> None:
    automation = await ann.make(WAIT)
    runs = [await ann.start(automation) for _ in range(4)]
    given = await order(ann, filter={"automationTemplateIds": [automation]})
    orders, now = ann.services.store.bulk_terminations, ann.engine.clock.now()
    kept = await orders.get(ann.tenant.id, given["id"])
    assert kept is not None

    async def abort() -> None:
        await orders.abort(
            ann.tenant.id, given["id"], now, AuditEntry(actor=SYSTEM, action="terminations.abort", target=given["id"])
        )

    everything = partial(orders.carry_out, kept, reach=lambda client: None, at=now)
    await asyncio.gather(everything(ids=runs[:2]), abort(), everything(ids=runs[2:]))
    found = await look(ann, given["id"])
    assert (found["state"], found["accepted"]) == ("ABORTED", 2)


async def test_whoever_may_no_longer_terminate_stops_nobody(ann: Desk) -> None:
    _, runs = await waiting(ann, 2)
    given = await order(ann, filter={"allExecutions": True})
    await ann.services.store.access.revoke_client(
        ann.tenant.id, "ann@localhost", 2, AuditEntry(actor=SYSTEM, action="client.revoke", target="x")
    )
    assert counts(await carried_out(ann, given["id"])) == [2, 0, 0, 0, 2, 0]
    assert [await ann.state(run) for run in runs] == ["WAITING"] * 2


async def test_the_admin_of_an_app_reaches_its_own_alone(ann: Desk) -> None:
    await add_client(ann, "bob@localhost", Role.APP_ADMIN, ("crm",))
    _, (ours,) = await waiting(ann, 1, appId="crm")
    _, (theirs,) = await waiting(ann, 1, appId="erp")
    bob = ann.with_role(Role.APP_ADMIN, apps=("crm",))
    assert (await plan(bob, executionIds=[str(ours), str(theirs)]))["notFound"] == 1
    given = await order(bob, filter={"allExecutions": True})
    assert counts(await carried_out(bob, given["id"])) == [1, 1, 0, 0, 0, 0]
    assert [await ann.state(run) for run in (ours, theirs)] == ["TERMINATE", "WAITING"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "executionIds"),
        ({"executionIds": ["1"], "filter": {"allExecutions": True}}, "executionIds"),
        ({"filter": {}}, "allExecutions"),
        ({"executionIds": ["x"]}, "executionIds"),
        ({"planId": "p", "executionIds": ["1"]}, "planId"),
        ({"executionIds": ["1"], "deadline": "301s"}, "deadline"),
        ({"executionIds": ["1"], "reason": "a\nb"}, "reason"),
    ],
)
async def test_what_cannot_be_meant_is_refused(ann: Desk, body: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidArgument, match=names):
        await order(ann, **body)


async def test_orders_are_listed_newest_first(ann: Desk) -> None:
    await waiting(ann, 1)
    ids = []
    for _ in range(12):
        await ann.wait(1)
        ids.append((await order(ann, filter={"allExecutions": True}))["id"])
    page = (await ann.ask("OwnListBulkTerminations", query={"page_size": "10"})).body
    rest = (
        await ann.ask("OwnListBulkTerminations", query={"page_size": "10", "page_token": page["nextPageToken"]})
    ).body
    assert [row["id"] for row in (*page["list"], *rest["list"])] == sorted(ids, reverse=True)


async def test_an_order_outlives_the_process() -> None:
    async with desk() as ann:
        await add_client(ann, "ann@localhost", Role.SUPER_ADMIN)
        _, (run,) = await waiting(ann, 1)
        given = await order(ann, filter={"allExecutions": True})
        # Nothing of an order is kept in memory: whoever looks next finds it.
        assert await ann.services.store.bulk_terminations.next() is not None
        assert (await carried_out(ann, given["id"]))["state"] == "DONE"
        assert await ann.state(run) == "TERMINATE"


async def family(ann: Desk) -> tuple[list[int], str]:
    """Two runs that each started one which waits, which each started one that is done and one that waits."""
    leaf, done = await ann.make(WAIT), await ann.make(GREET)
    begin = {"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": leaf}}}
    greet = {"runAutomation": {"automationTemplateRef": {"id": done}, "context": {"context": {"name": "x"}}}}
    middle = await ann.make(begin, {"stepName": "greet", **greet}, WAIT)
    root = await ann.make({"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": middle}}}, WAIT)
    runs = [await ann.start(root) for _ in range(2)]
    await settle()
    return runs, root


@pytest.mark.parametrize("by", ["ids", "filter"])
@pytest.mark.parametrize("cascade", [False, True])
async def test_a_plan_counts_what_its_order_stops(ann: Desk, by: str, cascade: bool) -> None:
    runs, root = await family(ann)
    ids = {"executionIds": [str(run) for run in runs]}
    named = ids if by == "ids" else {"filter": {"automationTemplateIds": [root]}}
    planned = await plan(ann, **named, cascade=cascade)
    assert (planned["total"], planned["descendants"], planned["cascade"]) == (2, 4 if cascade else 0, cascade)
    assert not planned["moreDescendants"]
    given = await order(ann, planId=planned["id"], cascade=cascade)
    done = await carried_out(ann, given["id"])
    assert (done["accepted"], done["descendants"]) == (planned["total"], planned["descendants"])
    stopped = (await ann.ask("OwnPlanBulkTermination", {"filter": {"allExecutions": True}})).body["total"]
    assert stopped == (0 if cascade else 4)


async def test_a_plan_counts_a_run_once_whatever_leads_to_it(ann: Desk) -> None:
    runs, _ = await family(ann)
    [child] = await ann.services.store.executions.children(ann.ref(runs[0]))
    ids = [str(runs[0]), str(child.id)]
    planned = await plan(ann, executionIds=ids, cascade=True)
    assert (planned["total"], planned["descendants"]) == (2, 1)


async def test_a_plan_counts_what_a_finished_run_has_started(ann: Desk) -> None:
    child, _ = await waiting(ann, 0)
    parent = await ann.start(
        await ann.make({"stepName": "a", "runAutomation": {"automationTemplateRef": {"id": child}}})
    )
    assert await ann.state(parent) == "DONE"
    planned = await plan(ann, executionIds=[str(parent)], cascade=True)
    assert (planned["total"], planned["descendants"]) == (1, 1)
    given = await order(ann, planId=planned["id"], cascade=True)
    done = await carried_out(ann, given["id"])
    assert (done["accepted"], done["alreadyFinished"], done["descendants"]) == (0, 1, 1)
