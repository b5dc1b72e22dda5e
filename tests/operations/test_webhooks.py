"""Outbound webhooks as objects: what may be saved, and what is shown of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interlock.errors import InvalidArgument, NotFound
from tests.operations.desk import Desk, names

pytestmark = pytest.mark.anyio
URL = "https://hooks.example/in?x=1"


async def make(ann: Desk, **fields: Any) -> Any:
    return (await ann.ask("CreateWebhook", {"displayName": "a hook", "url": URL, **fields})).body["webhook"]


async def update(ann: Desk, id_: str, fields: dict[str, Any], mask: object = None) -> Any:
    return (await ann.ask("UpdateWebhook", {"webhook": fields, "updateMask": mask}, id=id_)).body["webhook"]


async def test_a_webhook_is_made_and_read_back(ann: Desk) -> None:
    made = await make(ann, description="d", callbackTimeout="86400s")
    assert (made["url"], made["description"], made["callbackTimeout"]) == (URL, "d", "86400s")
    assert made["createdAt"] == made["updatedAt"] == "2025-06-15T15:06:40Z"
    assert (await ann.ask("GetWebhook", id=made["id"])).body["webhook"] == made


async def test_a_callback_may_take_eight_days_unless_said_otherwise(ann: Desk) -> None:
    made = await make(ann)
    assert made["callbackTimeout"] == "691200s"
    row = await ann.services.store.webhooks.get(ann.tenant.id, made["id"])
    assert row is not None
    assert row.callback_timeout == 691_200


@pytest.mark.parametrize("timeout", ["86399s", "0s", "2592000.000000001s", "31d"])
async def test_a_timeout_is_one_to_thirty_days(ann: Desk, timeout: str) -> None:
    with pytest.raises(InvalidArgument, match="callbackTimeout"):
        await make(ann, callbackTimeout=timeout)
    assert (await make(ann, callbackTimeout="720h"))["callbackTimeout"] == "720h"


@pytest.mark.parametrize("url", ["", "nonsense", "http://hooks.example/", "https://127.0.0.1/", "ftp://a", "x" * 3000])
async def test_a_url_that_could_never_be_called_is_refused_when_it_is_saved(ann: Desk, url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^url: "):
        await make(ann, url=url)
    made = await make(ann)
    with pytest.raises(InvalidArgument, match=r"^webhook\.url: "):
        await update(ann, made["id"], {"url": url}, "url")


async def test_everything_that_is_wrong_is_told_at_once(ann: Desk) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await make(ann, displayName="", url="", callbackTimeout="1s")
    assert [row.field for row in refused.value.problems] == ["displayName", "url", "callbackTimeout"]


@pytest.mark.parametrize("name", [{}, {"displayName": None}, {"displayName": ""}, {"displayName": " "}])
async def test_a_webhook_needs_a_name_when_it_is_made(ann: Desk, name: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"^displayName: is required"):
        await ann.ask("CreateWebhook", {"url": URL, **name})


async def test_updates_follow_the_mask_or_replace_all(ann: Desk) -> None:
    made = await make(ann, description="d", callbackTimeout="86400s")
    changed = await update(ann, made["id"], {"id": "x", "displayName": "B", "description": "lost"}, "display_name,id")
    assert (changed["id"], changed["displayName"], changed["description"]) == (made["id"], "B", "d")
    replaced = await update(ann, made["id"], {"url": "https://other.example/"})
    assert (replaced["displayName"], replaced["description"], replaced["url"]) == ("", "", "https://other.example/")
    assert replaced["callbackTimeout"] == "691200s"
    assert replaced["createdAt"] == made["createdAt"]
    with pytest.raises(InvalidArgument, match="webhook: is required"):
        await ann.ask("UpdateWebhook", id=made["id"])
    with pytest.raises(InvalidArgument, match="there is no such field"):
        await update(ann, made["id"], {}, "nonsense")


async def test_a_deleted_webhook_is_gone(ann: Desk) -> None:
    made = await make(ann)
    assert (await ann.ask("DeleteWebhook", id=made["id"])).body == {}
    for name, body in (("GetWebhook", None), ("DeleteWebhook", None), ("UpdateWebhook", {"webhook": {"url": URL}})):
        with pytest.raises(NotFound):
            await ann.ask(name, body, id=made["id"])


async def test_lists_and_searches_page(ann: Desk) -> None:
    await ann.ask("DeleteWebhook", id="hook")
    made = [await make(ann, displayName=f"Hook {number:02}") for number in range(23)]
    first = (await ann.ask("ListWebhook", query={"page_size": "20"})).body
    rest = (await ann.ask("ListWebhook", query={"page_token": first["nextPageToken"]})).body
    assert names(first["list"] + rest["list"]) == names(made)
    found = (await ann.ask("SearchWebhook", {"query": "hook", "pageSize": 20})).body
    more = (await ann.ask("SearchWebhook", {"query": "hook", "pageSize": 20, "pageToken": found["nextPageToken"]})).body
    assert names(found["list"] + more["list"]) == names(made)
    assert more["nextPageToken"] == ""
    assert names((await ann.ask("SearchWebhook", {"query": "HOOK 07"})).body["list"]) == ["Hook 07"]
    by_id = (await ann.ask("SearchWebhook", {"refs": [{"id": made[3]["id"]}]})).body["list"]
    assert names(by_id) == ["Hook 03"]


async def test_each_change_is_recorded(ann: Desk) -> None:
    made = await make(ann)
    await update(ann, made["id"], {"url": "https://other.example/"}, "url")
    await ann.ask("DeleteWebhook", id=made["id"])
    [changed] = await ann.audited("webhook.update")
    assert (changed.target, json.loads(changed.details or b"")) == (made["id"], {"url": "https://other.example/"})
    assert len(await ann.audited("webhook.create")) == len(await ann.audited("webhook.delete")) == 1
