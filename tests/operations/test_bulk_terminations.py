"""Bulk terminations: planned, carried out in batches, followed and aborted."""

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
from tests.operations.operations_client import CALL, GREET, WAIT, OperationsClient, operations_client

pytestmark = pytest.mark.anyio

KEY = bytes(31) + b"\x02"


@pytest.fixture(autouse=True)
async def known(admin: OperationsClient) -> None:
    """Create the client of the bulk terminations; each batch looks its permissions up again."""
    await add_client(admin, "ann@localhost", Role.SUPER_ADMIN)


async def add_client(admin: OperationsClient, id_: str, role: Role, apps: tuple[str, ...] = ()) -> None:
    row = ClientRow(
        tenant=admin.tenant.id, id=id_, display_name="", public_key=KEY, roles=(role,), created_at=1, apps=apps
    )
    await admin.services.store.access.create_client(row, AuditEntry(actor=SYSTEM, action="client.create", target=id_))


async def waiting(admin: OperationsClient, count: int, **fields: Any) -> tuple[str, list[int]]:
    automation = await admin.make(WAIT, **fields)
    return automation, [await admin.start(automation) for _ in range(count)]


async def plan(admin: OperationsClient, **body: Any) -> Any:
    return (await admin.ask("OwnPlanBulkTermination", body)).body


async def order(admin: OperationsClient, **body: Any) -> Any:
    return (await admin.ask("OwnCreateBulkTermination", body)).body["bulkTermination"]


async def look(admin: OperationsClient, id_: str) -> Any:
    return (await admin.ask("OwnGetBulkTermination", id=id_)).body["bulkTermination"]


async def carried_out(admin: OperationsClient, id_: str) -> Any:
    while await terminate_next_batch(admin.services):
        await settle()
    return await look(admin, id_)


def counts(shown: Any) -> list[int]:
    return [shown[name] for name in ("total", "accepted", "repeated", "alreadyFinished", "denied", "notFound")]


async def test_a_plan_says_what_is_done_what_is_in_flight_and_what_waits(admin: OperationsClient) -> None:
    held = await admin.start(await admin.make(WAIT, displayName="Held"))
    called = await admin.start(await admin.make(GREET, CALL, displayName="Called"), name="Ann")
    found = await plan(admin, filter={"allExecutions": True})
    assert found["total"] == 2
    assert found["states"] == [{"state": "PROCESS_STEP", "count": 1}, {"state": "WAITING", "count": 1}]
    shown = {int(row["executionId"]): row for row in found["executions"]}
    assert (shown[called]["doneSteps"], shown[called]["inFlight"]) == (["greet"], "call")
    assert (shown[held]["automationDisplayName"], shown[held]["waitingFor"]) == ("Held", "timer")
    assert [await admin.state(run) for run in (held, called)] == ["WAITING", "PROCESS_STEP"]


async def test_an_order_stops_the_planned_set_and_no_other(admin: OperationsClient) -> None:
    automation, runs = await waiting(admin, 3)
    planned = await plan(admin, filter={"automationTemplateIds": [automation]})
    late = await admin.start(automation)
    given = await order(admin, planId=planned["id"], reason="a flood")
    assert (given["state"], given["total"]) == ("RUNNING", 3)
    done = await carried_out(admin, given["id"])
    assert (done["state"], counts(done)) == ("DONE", [3, 3, 0, 0, 0, 0])
    assert [await admin.state(run) for run in (*runs, late)] == [*["TERMINATE"] * 3, "WAITING"]
    record = (await admin.detail(runs[0]))["termination"]
    assert (record["reason"], record["actor"]["client"], record["cause"]) == ("a flood", "ann@localhost", "person")
    assert len(await admin.audited("terminations.create")) == 1
    assert len(await admin.audited("execution.terminate")) == 3


async def test_what_has_ended_or_is_none_is_counted_as_that(admin: OperationsClient) -> None:
    _, (first, second) = await waiting(admin, 2)
    await admin.ask("TerminateAutomation", id=first)
    done = await admin.start(await admin.make(GREET), name="Ann")
    given = await order(admin, executionIds=[str(first), str(second), str(done), "839265", str(second)])
    assert counts(await carried_out(admin, given["id"])) == [4, 1, 1, 1, 0, 1]


async def test_an_attempt_in_flight_is_cut(admin: OperationsClient) -> None:
    run = await admin.start(await admin.make(CALL))
    given = await order(admin, filter={"states": ["AUTOMATION_EXECUTION_STATE_PROCESS_STEP"]})
    await carried_out(admin, given["id"])
    await settle()
    assert await admin.state(run) == "TERMINATE"


async def test_a_cascade_stops_what_the_named_ones_started(admin: OperationsClient) -> None:
    child, _ = await waiting(admin, 0)
    parent = await admin.start(
        await admin.make({"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": child}}}, WAIT)
    )
    given = await order(admin, executionIds=[str(parent)], cascade=True)
    assert counts(await carried_out(admin, given["id"])) == [1, 1, 0, 0, 0, 0]
    found = (await admin.ask("SearchAutomationExecutions", {"automationTemplateId": child})).body["list"]
    assert [row["automationExecution"]["state"] for row in found] == ["AUTOMATION_EXECUTION_STATE_TERMINATE"]


async def test_a_filter_finds_what_is_old_enough(admin: OperationsClient) -> None:
    automation, (old,) = await waiting(admin, 1)
    await admin.wait(600)
    young = await admin.start(automation)
    planned = await plan(admin, filter={"olderThan": "300s"})
    assert [int(row["executionId"]) for row in planned["executions"]] == [old]
    assert young != old


async def test_new_runs_can_be_held_back_from_the_first_commit_on(admin: OperationsClient) -> None:
    automation, _ = await waiting(admin, 2)
    given = await order(admin, filter={"automationTemplateIds": [automation]}, pauseAutomation=True)
    assert given["pausedAutomations"] == [automation]
    late = await admin.start(automation)
    assert await admin.state(late) == "PAUSED_BY_CIRCUIT_BREAKER"
    await admin.ask("ClearAutomationCircuitBreaker", {"decision": "PAUSED_EXECUTION_DECISION_RUN"}, id=automation)
    await admin.background()
    assert await admin.state(late) == "WAITING"


async def started_beside(admin: OperationsClient, automation: str, turns: int, **body: Any) -> tuple[list[int], str]:
    """An order, and a run that is started in each turn of the loop while it is given; returns those, and the order."""
    begun: list[int] = []

    async def starts() -> None:
        for _ in range(turns):
            reply = await admin.ask("ExecuteAutomation", body, id=automation)
            begun.append(int(reply.body["executionId"]))
            await checkpoint()

    beside = asyncio.ensure_future(starts())
    given = await order(admin, filter={"automationTemplateIds": [automation]}, pauseAutomation=True)
    await beside
    await settle()
    return begun, given["id"]


@pytest.mark.parametrize("turns", range(1, 40, 3))
@pytest.mark.parametrize("draft", [False, True], ids=["published", "draft"])
async def test_no_run_that_is_started_around_an_order_that_pauses_goes_on(
    admin: OperationsClient, turns: int, draft: bool
) -> None:
    """Whenever a run is started, the order stops it, or it is held back: none is at work when the order is done."""
    automation, before = await waiting(admin, 3)
    begun, id_ = await started_beside(admin, automation, turns, isDraft=draft)
    await carried_out(admin, id_)
    states = {run: await admin.state(run) for run in (*before, *begun)}
    assert set(states.values()) <= {"TERMINATE", "PAUSED_BY_CIRCUIT_BREAKER"}
    assert all(states[run] == "TERMINATE" for run in before)


@pytest.mark.parametrize("narrowing", [{"subjectUserIds": ["ann"]}, {"expressionCel": "ctx.trigger.user_id == 'ann'"}])
async def test_an_order_that_names_no_automation_pauses_those_that_it_finds(
    admin: OperationsClient, narrowing: Any
) -> None:
    first, second, other = [await admin.make(WAIT) for _ in range(3)]
    runs = [await admin.start(each, user_id="ann") for each in (first, second)]
    await admin.start(other, user_id="bob")
    given = await order(admin, filter=narrowing, pauseAutomation=True)
    assert sorted(given["pausedAutomations"]) == sorted([first, second])
    await carried_out(admin, given["id"])
    assert [await admin.state(run) for run in runs] == ["TERMINATE", "TERMINATE"]
    assert await admin.state(await admin.start(second)) == "PAUSED_BY_CIRCUIT_BREAKER"
    assert await admin.state(await admin.start(other)) == "WAITING"


async def test_an_automation_without_runs_is_paused_if_it_is_named(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    given = await order(admin, filter={"automationTemplateIds": [automation, "unknown"]}, pauseAutomation=True)
    assert given["pausedAutomations"] == [automation]
    assert await admin.state(await admin.start(automation)) == "PAUSED_BY_CIRCUIT_BREAKER"
    [entry] = await admin.audited("terminations.hold_back")
    assert json.loads(entry.details or b"") == {"automations": [automation]}


async def test_a_filter_that_is_refused_pauses_nothing(admin: OperationsClient) -> None:
    automation, _ = await waiting(admin, 1)
    narrowing = {"automationTemplateIds": [automation], "expressionCel": "ctx."}
    with pytest.raises(InvalidArgument):
        await order(admin, filter=narrowing, pauseAutomation=True)
    assert await admin.state(await admin.start(automation)) == "WAITING"


async def test_a_plan_is_good_once_for_its_maker_and_not_for_long(admin: OperationsClient) -> None:
    await waiting(admin, 1)
    planned = await plan(admin, filter={"allExecutions": True})
    eve = await admin.of_another_tenant()
    for other in (admin.with_role(Role.SUPER_ADMIN), eve):
        with pytest.raises(NotFound):
            await order(other, planId=planned["id"])
    await order(admin, planId=planned["id"])
    with pytest.raises(FailedPrecondition, match="already"):
        await order(admin, planId=planned["id"])
    second = await plan(admin, filter={"allExecutions": True})
    await admin.wait(301)
    with pytest.raises(FailedPrecondition, match="expired"):
        await order(admin, planId=second["id"])
    await admin.services.store.bulk_terminations.forget_plans(admin.engine.clock.now())
    with pytest.raises(NotFound):
        await order(admin, planId=second["id"])


async def test_an_order_can_be_aborted_between_two_batches(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    runs = [await admin.start(automation) for _ in range(BATCH_EXECUTIONS + 2)]
    given = await order(admin, filter={"automationTemplateIds": [automation]})
    assert await terminate_next_batch(admin.services)
    aborted = (await admin.ask("OwnAbortBulkTermination", id=given["id"])).body["bulkTermination"]
    assert (aborted["state"], aborted["accepted"]) == ("ABORTED", BATCH_EXECUTIONS)
    assert not await terminate_next_batch(admin.services)
    assert [await admin.state(run) for run in runs].count("WAITING") == 2
    again = (await admin.ask("OwnAbortBulkTermination", id=given["id"])).body["bulkTermination"]
    assert again == aborted


async def test_an_abort_waits_only_for_the_batch_in_progress(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    runs = [await admin.start(automation) for _ in range(4)]
    given = await order(admin, filter={"automationTemplateIds": [automation]})
    orders, now = admin.services.store.bulk_terminations, admin.engine.clock.now()
    kept = await orders.get(admin.tenant.id, given["id"])
    assert kept is not None

    async def abort() -> None:
        await orders.abort(
            admin.tenant.id, given["id"], now, AuditEntry(actor=SYSTEM, action="terminations.abort", target=given["id"])
        )

    everything = partial(orders.carry_out, kept, reach=lambda client: None, at=now)
    await asyncio.gather(everything(ids=runs[:2]), abort(), everything(ids=runs[2:]))
    found = await look(admin, given["id"])
    assert (found["state"], found["accepted"]) == ("ABORTED", 2)


async def test_a_client_that_lost_its_permission_terminates_no_run(admin: OperationsClient) -> None:
    _, runs = await waiting(admin, 2)
    given = await order(admin, filter={"allExecutions": True})
    await admin.services.store.access.revoke_client(
        admin.tenant.id, "ann@localhost", 2, AuditEntry(actor=SYSTEM, action="client.revoke", target="x")
    )
    assert counts(await carried_out(admin, given["id"])) == [2, 0, 0, 0, 2, 0]
    assert [await admin.state(run) for run in runs] == ["WAITING"] * 2


async def test_the_admin_of_an_app_reaches_its_own_alone(admin: OperationsClient) -> None:
    await add_client(admin, "bob@localhost", Role.APP_ADMIN, ("crm",))
    _, (ours,) = await waiting(admin, 1, appId="crm")
    _, (theirs,) = await waiting(admin, 1, appId="erp")
    bob = admin.with_role(Role.APP_ADMIN, apps=("crm",))
    assert (await plan(bob, executionIds=[str(ours), str(theirs)]))["notFound"] == 1
    given = await order(bob, filter={"allExecutions": True})
    assert counts(await carried_out(bob, given["id"])) == [1, 1, 0, 0, 0, 0]
    assert [await admin.state(run) for run in (ours, theirs)] == ["TERMINATE", "WAITING"]


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
async def test_what_cannot_be_meant_is_refused(admin: OperationsClient, body: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidArgument, match=names):
        await order(admin, **body)


async def test_orders_are_listed_newest_first(admin: OperationsClient) -> None:
    await waiting(admin, 1)
    ids = []
    for _ in range(12):
        await admin.wait(1)
        ids.append((await order(admin, filter={"allExecutions": True}))["id"])
    page = (await admin.ask("OwnListBulkTerminations", query={"page_size": "10"})).body
    rest = (
        await admin.ask("OwnListBulkTerminations", query={"page_size": "10", "page_token": page["nextPageToken"]})
    ).body
    assert [row["id"] for row in (*page["list"], *rest["list"])] == sorted(ids, reverse=True)


async def test_an_order_outlives_the_process() -> None:
    async with operations_client() as admin:
        await add_client(admin, "ann@localhost", Role.SUPER_ADMIN)
        _, (run,) = await waiting(admin, 1)
        given = await order(admin, filter={"allExecutions": True})
        # No bulk termination is kept in memory: the next read of the store finds it.
        assert await admin.services.store.bulk_terminations.next() is not None
        assert (await carried_out(admin, given["id"]))["state"] == "DONE"
        assert await admin.state(run) == "TERMINATE"


async def family(admin: OperationsClient) -> tuple[list[int], str]:
    """Two runs that each started one which waits, which each started one that is done and one that waits."""
    leaf, done = await admin.make(WAIT), await admin.make(GREET)
    begin = {"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": leaf}}}
    greet = {"runAutomation": {"automationTemplateRef": {"id": done}, "context": {"context": {"name": "x"}}}}
    middle = await admin.make(begin, {"stepName": "greet", **greet}, WAIT)
    root = await admin.make({"stepName": "begin", "runAutomation": {"automationTemplateRef": {"id": middle}}}, WAIT)
    runs = [await admin.start(root) for _ in range(2)]
    await settle()
    return runs, root


@pytest.mark.parametrize("by", ["ids", "filter"])
@pytest.mark.parametrize("cascade", [False, True])
async def test_a_plan_counts_what_its_order_stops(admin: OperationsClient, by: str, cascade: bool) -> None:
    runs, root = await family(admin)
    ids = {"executionIds": [str(run) for run in runs]}
    named = ids if by == "ids" else {"filter": {"automationTemplateIds": [root]}}
    planned = await plan(admin, **named, cascade=cascade)
    assert (planned["total"], planned["descendants"], planned["cascade"]) == (2, 4 if cascade else 0, cascade)
    assert not planned["moreDescendants"]
    given = await order(admin, planId=planned["id"], cascade=cascade)
    done = await carried_out(admin, given["id"])
    assert (done["accepted"], done["descendants"]) == (planned["total"], planned["descendants"])
    stopped = (await admin.ask("OwnPlanBulkTermination", {"filter": {"allExecutions": True}})).body["total"]
    assert stopped == (0 if cascade else 4)


async def test_a_plan_counts_a_run_once_whatever_leads_to_it(admin: OperationsClient) -> None:
    runs, _ = await family(admin)
    [child] = await admin.services.store.executions.children(admin.ref(runs[0]))
    ids = [str(runs[0]), str(child.id)]
    planned = await plan(admin, executionIds=ids, cascade=True)
    assert (planned["total"], planned["descendants"]) == (2, 1)


async def test_a_plan_counts_what_a_finished_run_has_started(admin: OperationsClient) -> None:
    child, _ = await waiting(admin, 0)
    parent = await admin.start(
        await admin.make({"stepName": "a", "runAutomation": {"automationTemplateRef": {"id": child}}})
    )
    assert await admin.state(parent) == "DONE"
    planned = await plan(admin, executionIds=[str(parent)], cascade=True)
    assert (planned["total"], planned["descendants"]) == (1, 1)
    given = await order(admin, planId=planned["id"], cascade=True)
    done = await carried_out(admin, given["id"])
    assert (done["accepted"], done["alreadyFinished"], done["descendants"]) == (0, 1, 1)
