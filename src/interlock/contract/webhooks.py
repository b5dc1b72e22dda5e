"""Outbound webhooks as objects: where a webhook step may send to."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.fieldmask import FieldMask
from interlock.contract.scalars import Int32
from interlock.contract.times import NonNegativeDuration, Timestamp


class Webhook(Message):
    """An address to call, and how long to wait for a callback."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.Webhook"

    id: str = ""
    display_name: str = ""
    description: str = ""
    url: str = ""
    callback_timeout: NonNegativeDuration | None = None
    app_ids: tuple[str, ...] = ()
    """An addition of ours: the apps whose administrators may use it in automations; others may use every webhook."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    deleted_at: Timestamp | None = None


class WebhookRef(Message):
    """A webhook, by id."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhookRef"

    id: str = ""


class CreateRequest(Message):
    """Make a webhook."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceCreateRequest"
    required: ClassVar[tuple[str, ...]] = ("displayName", "url")

    display_name: str = ""
    description: str = ""
    url: str = ""
    callback_timeout: NonNegativeDuration | None = None
    app_ids: tuple[str, ...] = ()
    """An addition of ours: the apps whose administrators may use it in automations."""


class CreateResponse(Message):
    """The webhook made."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceCreateResponse"

    webhook: Webhook | None = None


class GetResponse(Message):
    """One webhook."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceGetResponse"

    webhook: Webhook | None = None


class ListResponse(Message):
    """One page of webhooks."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceListResponse"

    list: tuple[Webhook, ...] = ()
    next_page_token: str = ""


class UpdateRequest(Message):
    """Change a webhook: the masked fields, or without a mask all of them."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceUpdateRequest"

    webhook: Webhook | None = None
    update_mask: FieldMask | None = None


class UpdateResponse(Message):
    """The webhook as it is now."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceUpdateResponse"

    webhook: Webhook | None = None


class DeleteRequest(Message):
    """Delete a webhook."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceDeleteRequest"


class DeleteResponse(Message):
    """Done."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksServiceDeleteResponse"


class SearchRequest(Message):
    """Webhooks by name or id."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksSearchRequest"

    page_size: Int32 = 0
    page_token: str = ""
    query: str = ""
    refs: tuple[WebhookRef, ...] = ()


class SearchResponse(Message):
    """One page of webhooks."""

    proto_name: ClassVar[str] = "c1.api.webhooks.v1.WebhooksSearchResponse"

    list: tuple[Webhook, ...] = ()
    next_page_token: str = ""
