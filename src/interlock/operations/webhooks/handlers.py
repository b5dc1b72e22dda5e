"""Operations on outbound webhooks: create, get, list, search, update and delete them."""

from __future__ import annotations

import json
from typing import Final

from interlock.contract.base import from_stored, to_stored, with_fields
from interlock.contract.fieldmask import FieldMask, copy_fields
from interlock.contract.fieldmask import apply as apply_mask
from interlock.contract.fieldmask import check as check_mask
from interlock.contract.times import Duration
from interlock.contract.webhooks import (
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DeleteResponse,
    GetResponse,
    ListResponse,
    SearchRequest,
    SearchResponse,
    UpdateRequest,
    UpdateResponse,
    Webhook,
)
from interlock.errors import InvalidArgument, NotFound, Problem
from interlock.operations import shown
from interlock.operations.operation import Answer, Call
from interlock.operations.paging import ROWS_PER_TURN, page_of, page_of_query, read_page
from interlock.operations.services import Services
from interlock.ports import AuditEntry, WebhookRow
from interlock.system import yield_to_loop

MUTABLE: Final = ("display_name", "description", "url", "callback_timeout", "app_ids")
DAY: Final = 86_400
DEFAULT_TIMEOUT: Final = Duration(f"{8 * DAY}s")
MIN_CALLBACK_SECONDS: Final = DAY
MAX_CALLBACK_SECONDS: Final = 30 * DAY
"""Maximum time until the callback of a webhook that answered 202, in seconds."""
MAX_URL_CHARACTERS: Final = 2_048


async def create(services: Services, call: Call, body: CreateRequest) -> Answer:
    """Create a webhook."""
    webhook = _complete(Webhook(**{name: getattr(body, name) for name in MUTABLE}))
    _check(services, webhook, "", named=True)
    at = services.clock.now()
    row = _row(call.tenant.id, services.ids.text(), webhook, at, at)
    await services.store.webhooks.create(row, _audit(call, "webhook.create", row))
    return Answer(CreateResponse(webhook=_shown(row)))


async def get(services: Services, call: Call, body: None) -> Answer:
    """Return one webhook."""
    return Answer(GetResponse(webhook=_shown(await _read(services, call))))


async def list_all(services: Services, call: Call, body: None) -> Answer:
    """List one page of all webhooks."""
    page = page_of_query(services, call, "webhooks")
    rows, has_more = await read_page(
        page,
        page.position,
        lambda after, limit: services.store.webhooks.page(call.tenant.id, after=after, limit=limit),
        lambda row: row.id,
        lambda row: len(row.document),
    )
    token = page.token(rows[-1].id) if has_more else ""
    return Answer(ListResponse(list=tuple(map(_shown, rows)), next_page_token=token))


async def search(services: Services, call: Call, body: SearchRequest) -> Answer:
    """List one page of the webhooks with these ids, or with `query` in their name, description or URL."""
    tenant, text, ids = call.tenant.id, body.query.strip().lower(), {ref.id for ref in body.refs}
    query = {"query": body.query, "refs": sorted(ids)}
    page = page_of(services, tenant, "search_webhooks", size=body.page_size, token=body.page_token, query=query)
    found: list[Webhook] = []
    after = page.position
    while len(found) <= page.size and (
        rows := await services.store.webhooks.page(tenant, after=after, limit=ROWS_PER_TURN)
    ):
        after = rows[-1].id
        for row in rows:
            if not ids or row.id in ids:
                webhook = _shown(row)
                if text in f"{webhook.display_name}\n{webhook.description}\n{webhook.url}".lower():
                    found.append(webhook)
        await yield_to_loop()
    token = page.token(found[page.size - 1].id) if len(found) > page.size else ""
    return Answer(SearchResponse(list=tuple(found[: page.size]), next_page_token=token))


async def update(services: Services, call: Call, body: UpdateRequest) -> Answer:
    """Change the fields in the mask, or all fields without a mask. Waiting steps keep their deadlines."""
    at = services.clock.now()

    def change(row: WebhookRow) -> tuple[WebhookRow, AuditEntry]:
        webhook = _complete(_changed(from_stored(Webhook, row.document), body))
        _check(services, webhook, "webhook.")
        new = _row(row.tenant, row.id, webhook, row.created_at, max(at, row.updated_at + 1))
        return new, _audit(call, "webhook.update", new)

    # A request that is invalid for every row is refused without a transaction.
    change(await _read(services, call))
    new = await services.store.webhooks.update(call.tenant.id, call.path["id"], change)
    if new is None:
        raise NotFound
    return Answer(UpdateResponse(webhook=_shown(new)))


def _changed(stored: Webhook, body: UpdateRequest) -> Webhook:
    """Return the webhook after the update."""
    if body.webhook is None:
        raise InvalidArgument.at("webhook", "is required: the fields to change")
    if not body.update_mask:
        changed = copy_fields(stored, body.webhook, MUTABLE)
        # Clients of C1 do not know this field, and must not clear it with another change.
        return changed if body.webhook.given("app_ids") else with_fields(changed, app_ids=stored.app_ids)
    mask = FieldMask.of([path for path in body.update_mask.paths if path not in _SET_BY_SERVER])
    if problems := check_mask(mask, Webhook, MUTABLE):
        raise InvalidArgument(problems=tuple(problems))
    return apply_mask(stored, body.webhook, mask, MUTABLE)


async def delete(services: Services, call: Call, body: DeleteRequest) -> Answer:
    """Delete a webhook. A later step that uses it fails; a step that waits for its callback still accepts it."""
    id_ = call.path["id"]
    audit = AuditEntry(actor=call.actor, action="webhook.delete", target=id_)
    if not await services.store.webhooks.delete(call.tenant.id, id_, services.clock.now(), audit):
        raise NotFound
    return Answer(DeleteResponse())


_SET_BY_SERVER: Final = frozenset(
    {"id", "createdAt", "created_at", "updatedAt", "updated_at", "deletedAt", "deleted_at"}
)


async def _read(services: Services, call: Call) -> WebhookRow:
    row = await services.store.webhooks.get(call.tenant.id, call.path["id"])
    if row is None:
        raise NotFound
    return row


def _complete(webhook: Webhook) -> Webhook:
    return webhook if webhook.callback_timeout is not None else with_fields(webhook, callback_timeout=DEFAULT_TIMEOUT)


def _check(services: Services, webhook: Webhook, prefix: str, *, named: bool = False) -> None:
    """Refuse a webhook whose URL could never be called, or without a name if `named`, as C1's schema requires it."""
    problems: list[Problem] = []
    if named and not webhook.display_name.strip():
        problems.append(Problem(f"{prefix}displayName", "is required"))
    if not webhook.url:
        problems.append(Problem(f"{prefix}url", "is required"))
    elif len(webhook.url) > MAX_URL_CHARACTERS:
        problems.append(Problem(f"{prefix}url", f"must not be longer than {MAX_URL_CHARACTERS} characters"))
    else:
        try:
            services.http.check_url(webhook.url)
        except InvalidArgument as refused:
            texts = [problem.description for problem in refused.problems] or [refused.message]
            problems.extend(Problem(f"{prefix}url", text) for text in texts)
    timeout = webhook.callback_timeout
    if timeout is None or not MIN_CALLBACK_SECONDS <= timeout.seconds <= MAX_CALLBACK_SECONDS:
        problems.append(
            Problem(
                f"{prefix}callbackTimeout",
                f'must be between 1 and 30 days ("{MIN_CALLBACK_SECONDS}s" to "{MAX_CALLBACK_SECONDS}s")',
            )
        )
    if problems:
        raise InvalidArgument(problems=tuple(problems))


def _row(tenant: int, id_: str, webhook: Webhook, created_at: int, updated_at: int) -> WebhookRow:
    timeout = webhook.callback_timeout or DEFAULT_TIMEOUT
    seconds = -(-timeout.nanos // 1_000_000_000)
    return WebhookRow(
        tenant=tenant,
        id=id_,
        document=to_stored(webhook),
        url=webhook.url,
        callback_timeout=seconds,
        created_at=created_at,
        updated_at=updated_at,
    )


def _shown(row: WebhookRow) -> Webhook:
    return with_fields(
        from_stored(Webhook, row.document),
        id=row.id,
        created_at=shown.moment(row.created_at),
        updated_at=shown.moment(row.updated_at),
    )


def _audit(call: Call, action: str, row: WebhookRow) -> AuditEntry:
    return AuditEntry(actor=call.actor, action=action, target=row.id, details=json.dumps({"url": row.url}).encode())
