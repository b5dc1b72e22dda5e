"""The audit record as its reader meets it, and a check that names the row that was tampered with."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest

from interlock.audit.chain import links
from interlock.errors import InvalidArgument
from interlock.operations.audit.handlers import VERIFY_BATCH_ROWS
from tests.operations.desk import WAIT, Desk
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio


async def seal(ann: Desk) -> None:
    """What the sealer does within a second."""
    log = ann.services.store.audit
    while rows := [row for row in await log.unsealed(1_000) if row.tenant == ann.tenant.id]:
        head = await log.head(ann.tenant.id)
        await log.seal(ann.tenant.id, head, links(head[1], rows))


async def verified(ann: Desk, **body: Any) -> Any:
    return (await ann.ask("OwnVerifyAudit", body)).body


async def tampered(ann: Desk, sql: str) -> None:
    def job(connection: apsw.Connection) -> None:
        connection.execute(sql)

    await sqlite(ann.engine.store).writer.submit(job)


async def a_record(ann: Desk, rows: int = 5) -> list[Any]:
    for number in range(rows):
        await ann.make(WAIT, displayName=str(number))
    await seal(ann)
    return (await ann.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"]  # type: ignore[no-any-return]


async def test_each_change_can_be_read_with_its_seal(ann: Desk) -> None:
    automation = await ann.make(WAIT)
    run = await ann.start(automation)
    await ann.ask("TerminateAutomation", {"reason": "enough"}, id=run)
    await seal(ann)
    *_, last = (await ann.ask("OwnListAuditEvents")).body["list"]
    assert (last["action"], last["target"], last["outcome"], last["reason"]) == (
        "execution.terminate",
        str(run),
        "accepted",
        "enough",
    )
    assert (last["actor"]["client"], last["actor"]["address"]) == ("ann@localhost", "192.0.2.7")
    assert last["details"]["found"] == "WAITING"
    assert len(last["hash"]) == 64


async def test_an_untouched_record_is_intact_and_young_rows_are_counted(ann: Desk) -> None:
    rows = await a_record(ann)
    await ann.make(WAIT)
    found = await verified(ann)
    assert (found["intact"], int(found["sealed"]), int(found["unsealed"])) == (True, len(rows), 1)
    assert (found["headId"], found["headHash"]) == (rows[-1]["id"], rows[-1]["hash"])


@pytest.mark.parametrize("rows", [VERIFY_BATCH_ROWS - 3, VERIFY_BATCH_ROWS - 2, VERIFY_BATCH_ROWS + 40])
async def test_a_long_record_is_checked_as_one(ann: Desk, rows: int) -> None:
    await a_record(ann, rows)
    found = await verified(ann)
    assert found["intact"]
    assert int(found["headId"]) == (await ann.services.store.audit.head(ann.tenant.id))[0]
    assert int(found["sealed"]) == len(await ann.services.store.audit.rows(ann.tenant.id))


async def test_a_changed_row_is_named(ann: Desk) -> None:
    rows = await a_record(ann)
    await tampered(ann, f"UPDATE audit SET reason = 'never happened' WHERE id = {rows[2]['id']}")
    found = await verified(ann)
    assert (found["intact"], found["badId"]) == (False, rows[2]["id"])


async def test_a_removed_row_is_noticed_at_the_next_one(ann: Desk) -> None:
    rows = await a_record(ann)
    await tampered(ann, f"DELETE FROM audit WHERE id = {rows[2]['id']}")
    found = await verified(ann)
    assert (found["intact"], found["badId"]) == (False, rows[3]["id"])
    assert "between" in found["problem"]


async def test_exchanged_rows_are_named(ann: Desk) -> None:
    rows = await a_record(ann)
    one, other = rows[2]["id"], rows[3]["id"]
    for was, is_ in ((one, 0), (other, one), (0, other)):
        await tampered(ann, f"UPDATE audit SET id = {is_} WHERE id = {was}")
    found = await verified(ann)
    assert (found["intact"], found["badId"]) == (False, one)


async def test_a_record_cut_off_with_its_seals_shows_against_a_checkpoint(ann: Desk) -> None:
    rows = await a_record(ann)
    head = await verified(ann)
    checkpoint = {"checkpointId": head["headId"], "checkpointHash": head["headHash"]}
    assert (await verified(ann, **checkpoint))["intact"]
    for table in ("audit", "audit_seals"):
        await tampered(ann, f"DELETE FROM {table} WHERE id = {rows[-1]['id']}")
    assert (await verified(ann))["intact"]
    found = await verified(ann, **checkpoint)
    assert (found["intact"], found["badId"]) == (False, rows[-1]["id"])


async def take_seals(ann: Desk, first: int, last: int) -> None:
    await tampered(ann, f"DELETE FROM audit_seals WHERE id BETWEEN {first} AND {last}")


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
async def test_removed_seals_show_however_many_they_are(ann: Desk, removed: int, where: str) -> None:
    rows = 3 * VERIFY_BATCH_ROWS + 5
    await a_record(ann, rows)
    head = await verified(ann)
    last = int(head["headId"])
    end = last if where == "end" else last - 2
    await take_seals(ann, end - removed + 1, end)
    checkpoint = {"checkpointId": head["headId"], "checkpointHash": head["headHash"]}
    assert not (await verified(ann, **checkpoint))["intact"]
    if where == "middle":
        found = await verified(ann)
        assert (found["intact"], int(found["badId"])) == (False, end - removed + 1)


@pytest.mark.parametrize("beyond", [1, VERIFY_BATCH_ROWS, 10**15])
@pytest.mark.parametrize("young", [0, 1, VERIFY_BATCH_ROWS + 1])
async def test_checkpoint_beyond_the_sealed_rows_is_not_intact(ann: Desk, beyond: int, young: int) -> None:
    await a_record(ann)
    for number in range(young):
        await ann.make(WAIT, displayName=str(number))
    head = await verified(ann)
    checkpoint = {"checkpointId": str(int(head["headId"]) + beyond), "checkpointHash": head["headHash"]}
    found = await verified(ann, **checkpoint)
    assert (found["intact"], found["badId"]) == (False, checkpoint["checkpointId"])


@pytest.mark.parametrize("id_", ["0", "-1", "-9223372036854775808"])
async def test_checkpoint_of_no_row_is_refused(ann: Desk, id_: str) -> None:
    await a_record(ann)
    with pytest.raises(InvalidArgument, match="checkpointId"):
        await verified(ann, checkpointId=id_, checkpointHash="ab" * 32)


@pytest.mark.parametrize(
    "column", ["client", "principal", "address", "action", "target", "outcome", "reason", "details"]
)
async def test_text_that_is_not_utf8_is_shown_and_found(ann: Desk, column: str) -> None:
    rows = await a_record(ann)
    text = "x'ff80'" if column == "details" else "CAST(x'61ff80' AS TEXT)"
    await tampered(ann, f"UPDATE audit SET {column} = {text} WHERE id = {rows[2]['id']}")
    found = await verified(ann)
    assert (found["intact"], found["badId"]) == (False, rows[2]["id"])
    shown = (await ann.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"][2]
    json.dumps(shown, ensure_ascii=False).encode()
    assert "\ufffd" in json.dumps(shown, ensure_ascii=False)


@pytest.mark.parametrize("details", ["", "{", "NaN", "[" * 100_000, "\x00"])
async def test_details_that_are_not_json_are_shown_and_found(ann: Desk, details: str) -> None:
    rows = await a_record(ann)
    await tampered(ann, f"UPDATE audit SET details = x'{details.encode().hex()}' WHERE id = {rows[2]['id']}")
    shown = (await ann.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"][2]
    assert shown["details"] == {"unreadable": details}
    assert (await verified(ann))["badId"] == rows[2]["id"]


@pytest.mark.parametrize("at", [-(2**63), 2**63 - 1, 10**18])
async def test_time_that_is_none_is_shown_and_found(ann: Desk, at: int) -> None:
    rows = await a_record(ann)
    await tampered(ann, f"UPDATE audit SET at = {at} WHERE id = {rows[2]['id']}")
    assert len((await ann.ask("OwnListAuditEvents", query={"page_size": "100"})).body["list"]) == len(rows)
    assert (await verified(ann))["badId"] == rows[2]["id"]


async def test_rows_that_are_not_utf8_are_sealed_as_they_are(ann: Desk) -> None:
    await ann.make(WAIT)
    await tampered(ann, "UPDATE audit SET reason = CAST(x'ff' AS TEXT)")
    await seal(ann)
    assert (await verified(ann))["intact"]


async def test_a_checkpoint_that_is_none_is_refused(ann: Desk) -> None:
    with pytest.raises(InvalidArgument, match="64 hexadecimal digits"):
        await verified(ann, checkpointId="1", checkpointHash="abc")


async def test_a_tenant_sees_its_own_record_alone(ann: Desk) -> None:
    await a_record(ann)
    eve = await ann.of_another_tenant()
    listed = (await eve.ask("OwnListAuditEvents")).body["list"]
    assert "automation.create" not in {row["action"] for row in listed}
    assert (await verified(eve))["intact"]
