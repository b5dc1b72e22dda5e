"""Outbound webhooks as objects: what may be saved, and what is shown of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.errors import InvalidArgument, NotFound
from tests.operations.operations_client import OperationsClient, names

pytestmark = pytest.mark.anyio
URL = "https://hooks.example/in?x=1"


async def make(admin: OperationsClient, **fields: Any) -> Any:
    return (await admin.ask("CreateWebhook", {"displayName": "a hook", "url": URL, **fields})).body["webhook"]


async def update(admin: OperationsClient, id_: str, fields: dict[str, Any], mask: object = None) -> Any:
    return (await admin.ask("UpdateWebhook", {"webhook": fields, "updateMask": mask}, id=id_)).body["webhook"]


async def test_a_webhook_is_made_and_read_back(admin: OperationsClient) -> None:
    made = await make(admin, description="d", callbackTimeout="86400s")
    assert (made["url"], made["description"], made["callbackTimeout"]) == (URL, "d", "86400s")
    assert made["createdAt"] == made["updatedAt"] == "2025-06-15T15:06:40Z"
    assert (await admin.ask("GetWebhook", id=made["id"])).body["webhook"] == made


async def test_a_callback_may_take_eight_days_unless_said_otherwise(admin: OperationsClient) -> None:
    made = await make(admin)
    assert made["callbackTimeout"] == "691200s"
    row = await admin.services.store.webhooks.get(admin.tenant.id, made["id"])
    assert row is not None
    assert row.callback_timeout == 691_200


@pytest.mark.parametrize("timeout", ["86399s", "0s", "2592000.000000001s", "31d"])
async def test_a_timeout_is_one_to_thirty_days(admin: OperationsClient, timeout: str) -> None:
    with pytest.raises(InvalidArgument, match="callbackTimeout"):
        await make(admin, callbackTimeout=timeout)
    assert (await make(admin, callbackTimeout="720h"))["callbackTimeout"] == "720h"


@pytest.mark.parametrize("url", ["", "nonsense", "http://hooks.example/", "https://127.0.0.1/", "ftp://a", "x" * 3000])
async def test_a_url_that_could_never_be_called_is_refused_when_it_is_saved(admin: OperationsClient, url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^url: "):
        await make(admin, url=url)
    made = await make(admin)
    with pytest.raises(InvalidArgument, match=r"^webhook\.url: "):
        await update(admin, made["id"], {"url": url}, "url")


async def test_everything_that_is_wrong_is_told_at_once(admin: OperationsClient) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await make(admin, displayName="", url="", callbackTimeout="1s")
    assert [row.field for row in refused.value.problems] == ["displayName", "url", "callbackTimeout"]


@pytest.mark.parametrize("name", [{}, {"displayName": None}, {"displayName": ""}, {"displayName": " "}])
async def test_a_webhook_needs_a_name_when_it_is_made(admin: OperationsClient, name: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"^displayName: is required"):
        await admin.ask("CreateWebhook", {"url": URL, **name})


async def test_updates_follow_the_mask_or_replace_all(admin: OperationsClient) -> None:
    made = await make(admin, description="d", callbackTimeout="86400s")
    changed = await update(admin, made["id"], {"id": "x", "displayName": "B", "description": "lost"}, "display_name,id")
    assert (changed["id"], changed["displayName"], changed["description"]) == (made["id"], "B", "d")
    replaced = await update(admin, made["id"], {"url": "https://other.example/"})
    assert (replaced["displayName"], replaced["description"], replaced["url"]) == ("", "", "https://other.example/")
    assert replaced["callbackTimeout"] == "691200s"
    assert replaced["createdAt"] == made["createdAt"]
    with pytest.raises(InvalidArgument, match="webhook: is required"):
        await admin.ask("UpdateWebhook", id=made["id"])
    with pytest.raises(InvalidArgument, match="there is no such field"):
        await update(admin, made["id"], {}, "nonsense")


async def test_a_deleted_webhook_is_gone(admin: OperationsClient) -> None:
    made = await make(admin)
    assert (await admin.ask("DeleteWebhook", id=made["id"])).body == {}
    for name, body in (("GetWebhook", None), ("DeleteWebhook", None), ("UpdateWebhook", {"webhook": {"url": URL}})):
        with pytest.raises(NotFound):
            await admin.ask(name, body, id=made["id"])


async def test_lists_and_searches_page(admin: OperationsClient) -> None:
    await admin.ask("DeleteWebhook", id="hook")
    made = [await make(admin, displayName=f"Hook {number:02}") for number in range(23)]
    first = (await admin.ask("ListWebhook", query={"page_size": "20"})).body
    rest = (await admin.ask("ListWebhook", query={"page_token": first["nextPageToken"]})).body
    assert names(first["list"] + rest["list"]) == names(made)
    found = (await admin.ask("SearchWebhook", {"query": "hook", "pageSize": 20})).body
    more = (
        await admin.ask("SearchWebhook", {"query": "hook", "pageSize": 20, "pageToken": found["nextPageToken"]})
    ).body
    assert names(found["list"] + more["list"]) == names(made)
    assert more["nextPageToken"] == ""
    assert names((await admin.ask("SearchWebhook", {"query": "HOOK 07"})).body["list"]) == ["Hook 07"]
    by_id = (await admin.ask("SearchWebhook", {"refs": [{"id": made[3]["id"]}]})).body["list"]
    assert names(by_id) == ["Hook 03"]


async def test_each_change_is_recorded(admin: OperationsClient) -> None:
    made = await make(admin)
    await update(admin, made["id"], {"url": "https://other.example/"}, "url")
    await admin.ask("DeleteWebhook", id=made["id"])
    [changed] = await admin.audited("webhook.update")
    assert (changed.target, json.loads(changed.details or b"")) == (made["id"], {"url": "https://other.example/"})
    assert len(await admin.audited("webhook.create")) == len(await admin.audited("webhook.delete")) == 1
