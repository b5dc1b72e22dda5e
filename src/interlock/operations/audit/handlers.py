"""Operations on the audit record: list its events, and verify that it was not changed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

from interlock.audit.chain import START, Verdict, verify
from interlock.contract.times import Timestamp
from interlock.errors import InvalidArgument
from interlock.operations import shown
from interlock.operations.audit.views import (
    AuditEvent,
    ListAuditEventsResponse,
    VerifyAuditRequest,
    VerifyAuditResponse,
)
from interlock.operations.operation import Answer, Call
from interlock.operations.paging import page_of_query
from interlock.operations.services import Services
from interlock.ports import AuditRow
from interlock.rules.model import Actor
from interlock.system import yield_to_loop

VERIFY_BATCH_ROWS: Final = 250
"""Rows that are verified before the loop serves other requests."""
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


async def list_all(services: Services, call: Call, body: None) -> Answer:
    """List one page of the tenant's audit record, oldest first."""
    page = page_of_query(services, call, "audit")
    rows = await services.store.audit.rows(call.tenant.id, after=page.number() or 0, limit=page.size + 1)
    found = tuple(_event(row) for row in rows[: page.size])
    token = page.token(str(found[-1].id)) if len(rows) > page.size else ""
    return Answer(ListAuditEventsResponse(list=found, next_page_token=token))


async def check(services: Services, call: Call, body: VerifyAuditRequest) -> Answer:
    """Verify every row of the tenant's record against its seal, and against a checkpoint if the request has one.

    Raises:
        InvalidArgument: The id or the hash of the checkpoint is malformed.
    """
    checkpoint = None
    if body.checkpoint_id or body.checkpoint_hash:
        if body.checkpoint_id < 1:
            raise InvalidArgument.at("checkpointId", "must be the id of a row, as headId is")
        if not _HASH.fullmatch(body.checkpoint_hash):
            raise InvalidArgument.at("checkpointHash", "must be 64 hexadecimal digits, as headHash is")
        checkpoint = (body.checkpoint_id, bytes.fromhex(body.checkpoint_hash))
    verdict = await _verified(services, call.tenant.id, checkpoint)
    head_id, head_hash = verdict.head
    return Answer(
        VerifyAuditResponse(
            intact=verdict.ok,
            sealed=verdict.sealed,
            unsealed=verdict.unsealed,
            head_id=head_id,
            head_hash=head_hash.hex(),
            bad_id=verdict.bad or 0,
            problem=verdict.problem,
        )
    )


async def _verified(services: Services, tenant: int, checkpoint: tuple[int, bytes] | None) -> Verdict:
    """Verify the record in batches, each from the head of the previous one. Rows written meanwhile are not verified.

    The record is intact only if the verification reaches the newest seal and the checkpoint.
    """
    log = services.store.audit
    newest = await log.head(tenant)
    at, after, sealed = (0, START), 0, 0
    while True:
        rows = await log.rows(tenant, after=after, limit=VERIFY_BATCH_ROWS)
        rows = [row for row in rows if row.hash is None or row.id <= newest[0]]
        is_last = len(rows) < VERIFY_BATCH_ROWS
        due = checkpoint if checkpoint is not None and (is_last or checkpoint[0] <= rows[-1].id) else None
        verdict = verify(rows, newest if is_last else at, start=at, checkpoint=due)
        if due is not None:
            checkpoint = None
        sealed += verdict.sealed
        total = Verdict(verdict.head, sealed, verdict.unsealed, verdict.bad, verdict.problem)
        if is_last or not verdict.ok:
            return total
        if verdict.unsealed:
            # Rows are sealed in order, so no row after these may be sealed.
            rest = await log.rows(tenant, after=rows[-1].id, limit=1)
            if not rest or rest[0].hash is None:
                return _complete(total, newest, checkpoint)
        at, after = verdict.head, rows[-1].id
        await yield_to_loop()


def _complete(verdict: Verdict, newest: tuple[int, bytes], checkpoint: tuple[int, bytes] | None) -> Verdict:
    """Return the verdict at the end of the sealed rows, which must reach the newest seal and the checkpoint."""
    last = verdict.head[0]
    if newest[0] > last:
        problem = f"rows after row {last} have no seal, although row {newest[0]} has one"
        return replace(verdict, bad=last + 1, problem=problem)
    if checkpoint is not None:
        return replace(
            verdict, bad=checkpoint[0], problem=f"the row of the checkpoint is not sealed: row {last} is the last"
        )
    return verdict


def _event(row: AuditRow) -> AuditEvent:
    entry = row.entry
    return AuditEvent(
        id=row.id,
        at=_moment(row.at),
        actor=shown.actor(
            Actor(_readable(entry.actor.client), _readable(entry.actor.address), _readable(entry.actor.principal))
        ),
        action=_readable(entry.action),
        target=_readable(entry.target),
        outcome=_readable(entry.outcome),
        reason=_readable(entry.reason),
        details=None if entry.details is None else _details(entry.details),
        hash="" if row.hash is None else row.hash.hex(),
    )


def _readable(text: str) -> str:
    """Return a stored text as valid UTF-8: other bytes, which only tampering leaves, become U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _moment(at: int) -> Timestamp | None:
    try:
        return shown.moment(at)
    except (ValueError, OverflowError):
        return None


def _details(stored: bytes) -> Any:
    """Return the details, or their text if they are not JSON, which only tampering causes."""
    try:
        return json.loads(stored, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return {"unreadable": stored.decode("utf-8", "replace")}


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
