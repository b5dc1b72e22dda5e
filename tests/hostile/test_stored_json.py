"""Documents that an older release stored and this release cannot read."""

from __future__ import annotations

import pytest

from interlock.operations.bulk_terminations.handlers import terminate_next_batch
from interlock.ports import AuditEntry, ClientRow, Role
from interlock.rules.model import SYSTEM, Ref
from tests.clocks import settle
from tests.engine.worlds import evaluate
from tests.hostile.json_runs import strict
from tests.operations.operations_client import WAIT, OperationsClient
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio


# --- what an older release stored -------------------------------------------------------------------------------------

UNREADABLE = [b'{"n":Infinity}', b'{"n":1e400}', b'{"n":1,"n":2}', b"not json", b"\xff", b"[" * 500 + b"]" * 500]


async def spoil(admin: OperationsClient, run: int, column: str, document: bytes) -> None:
    """Put a document into the row as a release without the limits would have."""
    sql = {
        "input": "UPDATE inputs SET input = ? WHERE execution = ?",
        "output": "UPDATE steps SET output = ? WHERE execution = ? AND output IS NOT NULL",
        "late": "UPDATE steps SET late = ? WHERE execution = ?",
        "error": "UPDATE steps SET error = ? WHERE execution = ?",
        "context": "UPDATE definitions SET context = ? WHERE id = (SELECT definition FROM executions WHERE id = ?)",
    }[column]
    await sqlite(admin.engine.store).writer.submit(
        on_connection(lambda connection: connection.execute(sql, (document, run)).fetchall())
    )


@pytest.mark.parametrize("column", ["input", "output", "late", "error"])
@pytest.mark.parametrize("document", UNREADABLE)
async def test_an_unreadable_run_stops_nothing_but_itself(
    admin: OperationsClient, column: str, document: bytes
) -> None:
    client = ClientRow(
        tenant=admin.tenant.id,
        id="ann@localhost",
        display_name="",
        public_key=b"k" * 32,
        roles=(Role.SUPER_ADMIN,),
        created_at=1,
    )
    await admin.services.store.access.create_client(
        client, AuditEntry(actor=SYSTEM, action="client.create", target=client.id)
    )
    automation = await admin.make(evaluate("made", x="ctx.trigger.x"), WAIT)
    first, odd, last = [await admin.start(automation, x=1) for _ in range(3)]
    await spoil(admin, odd, column, document)
    plan = (
        await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": "ctx.trigger.x + ctx.made.x == 2"}})
    ).body
    found = sorted(int(row["executionId"]) for row in plan["executions"])
    if column in {"input", "output"}:
        assert found == [first, last]
        assert (plan["expressionFailures"]["count"], plan["expressionFailures"]["executionId"]) == (1, str(odd))
    else:
        assert found == [first, odd, last]
    strict((await admin.ask("GetAutomationExecution", id=odd)).body)
    strict((await admin.ask("OwnGetReceipt", id=odd)).body)
    assert strict(await admin.detail(odd))["state"] == "WAITING"
    order = {"filter": {"expressionCel": "ctx.trigger.x + ctx.made.x == 2"}}
    given_ = (await admin.ask("OwnCreateBulkTermination", order)).body
    while await terminate_next_batch(admin.services):
        await settle()
    assert given_["bulkTermination"]["total"] == len(found)
    assert [await admin.state(run) for run in (first, last)] == ["TERMINATE", "TERMINATE"]


@pytest.mark.parametrize("document", UNREADABLE)
async def test_an_unreadable_context_of_an_automation_stops_no_other_run(
    admin: OperationsClient, document: bytes
) -> None:
    odd = await admin.start(await admin.make(WAIT, context={"context": {"n": 1}}), x=1)
    fine = await admin.start(await admin.make(WAIT), x=1)
    await spoil(admin, odd, "context", document)
    plan = (await admin.ask("OwnPlanBulkTermination", {"filter": {"expressionCel": "ctx.trigger.x == 1"}})).body
    assert [row["executionId"] for row in plan["executions"]] == [str(fine)]
    assert (plan["expressionFailures"]["count"], plan["expressionFailures"]["executionId"]) == (1, str(odd))
    assert strict(await admin.detail(odd))["state"] == "WAITING"


async def test_numbers_that_an_automation_holds_are_sent_as_they_were_given(admin: OperationsClient) -> None:
    payload = {"max": 2**64 - 1, "odd": 2**53 + 1, "least": -(2**63), "big": 1e17, "half": 0.5}
    step = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": payload}}
    await admin.start(await admin.make(step))
    assert admin.engine.far.calls[-1].body["payload"]["context"] == payload


@pytest.mark.parametrize("column", ["input", "output"])
async def test_an_unreadable_run_ends_with_what_is_wrong_and_not_as_a_defect(
    admin: OperationsClient, column: str
) -> None:
    run = await admin.start(await admin.make(evaluate("made", x="ctx.trigger.x"), WAIT), x=1)
    await spoil(admin, run, column, b'{"n":Infinity}')
    await admin.wait(1209600)
    assert await admin.state(run) == "ERROR"
    assert (await admin.engine.store.executions.steps(Ref(admin.tenant.id, run)))[-1].error is not None
    [*_, step] = (await admin.detail(run))["steps"]
    assert step["error"]["code"] == "DOCUMENT_UNREADABLE"
