"""The rows of webhooks and of their callbacks."""

from __future__ import annotations

from typing import Final

from interlock.auth.roles import Permission
from interlock.contract import webhooks as messages
from interlock.operations.operation import Lane, Link, Operation, PathParameter, Visibility
from interlock.operations.row_parts import OWN, PAGE
from interlock.operations.webhooks import callbacks, handlers, views

_SERVICE: Final = "c1.api.webhooks.v1.WebhooksService."
_TAG: Final = "Webhooks"
_WEBHOOK_ID: Final = (PathParameter("id", "The webhook."),)
_OF_WEBHOOK: Final = Link("/webhook/id", tuple(f"{_SERVICE}{name}" for name in ("Get", "Update", "Delete")))

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/api/v1/webhooks",
        id=f"{_SERVICE}List",
        summary="List Webhooks",
        description="One page of all outbound webhooks.",
        handler=handlers.list_all,
        permission=Permission.WEBHOOKS_READ,
        response=messages.ListResponse,
        query=PAGE,
        tag=_TAG,
    ),
    Operation(
        method="POST",
        path="/api/v1/webhooks",
        id=f"{_SERVICE}Create",
        summary="Create Webhook",
        description="Create an outbound webhook. A URL that the server could never call is refused.",
        handler=handlers.create,
        permission=Permission.WEBHOOKS_MANAGE,
        response=messages.CreateResponse,
        request=messages.CreateRequest,
        lane=Lane.WORK,
        tag=_TAG,
        link=_OF_WEBHOOK,
    ),
    Operation(
        method="GET",
        path="/api/v1/webhooks/{id}",
        id=f"{_SERVICE}Get",
        summary="Get Webhook",
        description="One outbound webhook.",
        handler=handlers.get,
        permission=Permission.WEBHOOKS_READ,
        response=messages.GetResponse,
        parameters=_WEBHOOK_ID,
        tag=_TAG,
    ),
    Operation(
        method="POST",
        path="/api/v1/webhooks/{id}",
        id=f"{_SERVICE}Update",
        summary="Update Webhook",
        description="Change the fields that `updateMask` names, or all fields without it.",
        handler=handlers.update,
        permission=Permission.WEBHOOKS_MANAGE,
        response=messages.UpdateResponse,
        request=messages.UpdateRequest,
        lane=Lane.WORK,
        parameters=_WEBHOOK_ID,
        tag=_TAG,
    ),
    Operation(
        method="DELETE",
        path="/api/v1/webhooks/{id}",
        id=f"{_SERVICE}Delete",
        summary="Delete Webhook",
        description="Delete an outbound webhook. A later step that uses it fails.",
        handler=handlers.delete,
        permission=Permission.WEBHOOKS_MANAGE,
        response=messages.DeleteResponse,
        request=messages.DeleteRequest,
        lane=Lane.WORK,
        parameters=_WEBHOOK_ID,
        tag=_TAG,
    ),
    Operation(
        method="POST",
        path="/api/v1/search/webhooks",
        id="c1.api.webhooks.v1.WebhooksSearch.Search",
        summary="Search Webhooks",
        description="Search outbound webhooks by id, or by a part of their name, description or URL.",
        handler=handlers.search,
        permission=Permission.WEBHOOKS_READ,
        response=messages.SearchResponse,
        request=messages.SearchRequest,
        tag=_TAG,
    ),
    Operation(
        method="POST",
        path="/api/v1/webhooks/callback/{execution}/{token}",
        id=f"{OWN}ReceiveCallback",
        summary="Receive Callback",
        description=(
            "Deliver the result of a webhook that answered 202: send a JSON object once to the `Webhook-Callback-Url` "
            "of the call. The request needs no bearer token, because the URL authenticates the receiver."
        ),
        handler=callbacks.receive,
        permission=None,
        response=views.CallbackResponse,
        raw_body=True,
        lane=Lane.WORK,
        visibility=Visibility.OWN,
        parameters=(
            PathParameter("execution", "The execution that waits.", int64=True),
            PathParameter("token", "The proof that the server issued this URL."),
        ),
        tag=_TAG,
        body_limit=callbacks.MAX_CALLBACK_BYTES,
    ),
)
