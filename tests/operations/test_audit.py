"""The audit record as its reader meets it, and a check that names the row that was tampered with."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest

from interlock.audit.chain import links
from interlock.errors import InvalidArgument
from interlock.operations.audit.handlers import VERIFY_BATCH_ROWS
from tests.operations.operations_client import WAIT, OperationsClient
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio


async def seal(admin: OperationsClient) -> None:
    """What the sealer does within a second."""
    log = admin.services.store.audit
    while rows := [row for row in await log.unsealed(1_000) if row.tenant == admin.tenant.id]:
        head = await log.head(admin.tenant.id)
        await log.seal(admin.tenant.id, head, links(head[1], rows))


async def verified(admin: OperationsClient, **body: Any) -> Any:
    return (await admin.ask("OwnVerifyAudit", body)).body


async def tampered(admin: OperationsClient, sql: str) -> None:
    def job(connection: apsw.Connection) -> None:
        connection.execute(sql)

    await sqlite(admin.engine.store).writer.submit(on_connection(job))


async def a_record(admin: OperationsClient, rows: int = 5) -> list[Any]:
    for number in range(rows):
        await admin.make(WAIT, displayName=str(number))
    await seal(admin)
    return (await admin.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"]  # type: ignore[no-any-return]


async def test_each_change_can_be_read_with_its_seal(admin: OperationsClient) -> None:
    automation = await admin.make(WAIT)
    run = await admin.start(automation)
    await admin.ask("TerminateAutomation", {"reason": "enough"}, id=run)
    await seal(admin)
    *_, last = (await admin.ask("OwnListAuditEvents")).body["list"]
    assert (last["action"], last["target"], last["outcome"], last["reason"]) == (
        "execution.terminate",
        str(run),
        "accepted",
        "enough",
    )
    assert (last["actor"]["client"], last["actor"]["address"]) == ("ann@localhost", "192.0.2.7")
    assert last["details"]["found"] == "WAITING"
    assert len(last["hash"]) == 64


async def test_an_untouched_record_is_intact_and_young_rows_are_counted(admin: OperationsClient) -> None:
    rows = await a_record(admin)
    await admin.make(WAIT)
    found = await verified(admin)
    assert (found["intact"], int(found["sealed"]), int(found["unsealed"])) == (True, len(rows), 1)
    assert (found["headId"], found["headHash"]) == (rows[-1]["id"], rows[-1]["hash"])


@pytest.mark.parametrize("rows", [VERIFY_BATCH_ROWS - 3, VERIFY_BATCH_ROWS - 2, VERIFY_BATCH_ROWS + 40])
async def test_a_long_record_is_checked_as_one(admin: OperationsClient, rows: int) -> None:
    await a_record(admin, rows)
    found = await verified(admin)
    assert found["intact"]
    assert int(found["headId"]) == (await admin.services.store.audit.head(admin.tenant.id))[0]
    assert int(found["sealed"]) == len(await admin.services.store.audit.rows(admin.tenant.id))


async def test_a_changed_row_is_named(admin: OperationsClient) -> None:
    rows = await a_record(admin)
    await tampered(admin, f"UPDATE audit SET reason = 'never happened' WHERE id = {rows[2]['id']}")
    found = await verified(admin)
    assert (found["intact"], found["badId"]) == (False, rows[2]["id"])


async def test_a_removed_row_is_noticed_at_the_next_one(admin: OperationsClient) -> None:
    rows = await a_record(admin)
    await tampered(admin, f"DELETE FROM audit WHERE id = {rows[2]['id']}")
    found = await verified(admin)
    assert (found["intact"], found["badId"]) == (False, rows[3]["id"])
    assert "between" in found["problem"]


async def test_exchanged_rows_are_named(admin: OperationsClient) -> None:
    rows = await a_record(admin)
    one, other = rows[2]["id"], rows[3]["id"]
    for was, is_ in ((one, 0), (other, one), (0, other)):
        await tampered(admin, f"UPDATE audit SET id = {is_} WHERE id = {was}")
    found = await verified(admin)
    assert (found["intact"], found["badId"]) == (False, one)


async def test_a_record_cut_off_with_its_seals_shows_against_a_checkpoint(admin: OperationsClient) -> None:
    rows = await a_record(admin)
    head = await verified(admin)
    checkpoint = {"checkpointId": head["headId"], "checkpointHash": head["headHash"]}
    assert (await verified(admin, **checkpoint))["intact"]
    for table in ("audit", "audit_seals"):
        await tampered(admin, f"DELETE FROM {table} WHERE id = {rows[-1]['id']}")
    assert (await verified(admin))["intact"]
    found = await verified(admin, **checkpoint)
    assert (found["intact"], found["badId"]) == (False, rows[-1]["id"])


async def take_seals(admin: OperationsClient, first: int, last: int) -> None:
    await tampered(admin, f"DELETE FROM audit_seals WHERE id BETWEEN {first} AND {last}")


@pytest.mark.parametrize(
    "removed",
    [
        1,
        5,
        VERIFY_BATCH_ROWS - 1,
        VERIFY_BATCH_ROWS,
        VERIFY_BATCH_ROWS + 1,
        2 * VERIFY_BATCH_ROWS,
        3 * VERIFY_BATCH_ROWS,
    ],
)
@pytest.mark.parametrize("where", ["end", "middle"])
async def test_removed_seals_show_however_many_they_are(admin: OperationsClient, removed: int, where: str) -> None:
    rows = 3 * VERIFY_BATCH_ROWS + 5
    await a_record(admin, rows)
    head = await verified(admin)
    last = int(head["headId"])
    end = last if where == "end" else last - 2
    await take_seals(admin, end - removed + 1, end)
    checkpoint = {"checkpointId": head["headId"], "checkpointHash": head["headHash"]}
    assert not (await verified(admin, **checkpoint))["intact"]
    if where == "middle":
        found = await verified(admin)
        assert (found["intact"], int(found["badId"])) == (False, end - removed + 1)


@pytest.mark.parametrize("beyond", [1, VERIFY_BATCH_ROWS, 10**15])
@pytest.mark.parametrize("young", [0, 1, VERIFY_BATCH_ROWS + 1])
async def test_checkpoint_beyond_the_sealed_rows_is_not_intact(
    admin: OperationsClient, beyond: int, young: int
) -> None:
    await a_record(admin)
    for number in range(young):
        await admin.make(WAIT, displayName=str(number))
    head = await verified(admin)
    checkpoint = {"checkpointId": str(int(head["headId"]) + beyond), "checkpointHash": head["headHash"]}
    found = await verified(admin, **checkpoint)
    assert (found["intact"], found["badId"]) == (False, checkpoint["checkpointId"])


@pytest.mark.parametrize("id_", ["0", "-1", "-9223372036854775808"])
async def test_checkpoint_of_no_row_is_refused(admin: OperationsClient, id_: str) -> None:
    await a_record(admin)
    with pytest.raises(InvalidArgument, match="checkpointId"):
        await verified(admin, checkpointId=id_, checkpointHash="ab" * 32)


@pytest.mark.parametrize(
    "column", ["client", "principal", "address", "action", "target", "outcome", "reason", "details"]
)
async def test_text_that_is_not_utf8_is_shown_and_found(admin: OperationsClient, column: str) -> None:
    rows = await a_record(admin)
    text = "x'ff80'" if column == "details" else "CAST(x'61ff80' AS TEXT)"
    await tampered(admin, f"UPDATE audit SET {column} = {text} WHERE id = {rows[2]['id']}")
    found = await verified(admin)
    assert (found["intact"], found["badId"]) == (False, rows[2]["id"])
    shown = (await admin.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"][2]
    json.dumps(shown, ensure_ascii=False).encode()
    assert "\ufffd" in json.dumps(shown, ensure_ascii=False)


@pytest.mark.parametrize("details", ["", "{", "NaN", "[" * 100_000, "\x00"])
async def test_details_that_are_not_json_are_shown_and_found(admin: OperationsClient, details: str) -> None:
    rows = await a_record(admin)
    await tampered(admin, f"UPDATE audit SET details = x'{details.encode().hex()}' WHERE id = {rows[2]['id']}")
    shown = (await admin.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"][2]
    assert shown["details"] == {"unreadable": details}
    assert (await verified(admin))["badId"] == rows[2]["id"]


@pytest.mark.parametrize("at", [-(2**63), 2**63 - 1, 10**18])
async def test_time_that_is_none_is_shown_and_found(admin: OperationsClient, at: int) -> None:
    rows = await a_record(admin)
    await tampered(admin, f"UPDATE audit SET at = {at} WHERE id = {rows[2]['id']}")
    assert len((await admin.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"]) == len(rows)
    assert (await verified(admin))["badId"] == rows[2]["id"]


async def test_rows_that_are_not_utf8_are_sealed_as_they_are(admin: OperationsClient) -> None:
    await admin.make(WAIT)
    await tampered(admin, "UPDATE audit SET reason = CAST(x'ff' AS TEXT)")
    await seal(admin)
    assert (await verified(admin))["intact"]


async def test_a_checkpoint_that_is_none_is_refused(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument, match="64 hexadecimal digits"):
        await verified(admin, checkpointId="1", checkpointHash="abc")


async def test_a_tenant_sees_its_own_record_alone(admin: OperationsClient) -> None:
    await a_record(admin)
    eve = await admin.of_another_tenant()
    listed = (await eve.ask("OwnListAuditEvents")).body["list"]
    assert "automation.create" not in {row["action"] for row in listed}
    assert (await verified(eve))["intact"]
