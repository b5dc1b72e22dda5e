"""Page tokens lead on through one query of one tenant, and are good for nothing else."""

from __future__ import annotations

import pytest

from interlock.errors import InvalidArgument
from tests.operations.desk import GREET, WAIT, Desk

pytestmark = pytest.mark.anyio


async def test_pages_hold_every_row_once(ann: Desk) -> None:
    made = {await ann.make(WAIT) for _ in range(23)}
    seen: list[str] = []
    token = ""
    for size in (10, 10, 3):
        page = (await ann.ask("ListAutomations", query={"page_size": "10", "page_token": token})).body
        assert len(page["list"]) == size
        seen += [row["id"] for row in page["list"]]
        token = page["nextPageToken"]
    assert token == ""
    assert len(seen) == 23
    assert set(seen) == made


@pytest.mark.parametrize(("asked", "given"), [("", 25), ("0", 25), ("1", 10), ("-5", 10), ("50", 50), ("9999", 100)])
async def test_the_size_of_a_page_is_clamped(ann: Desk, asked: str, given: int) -> None:
    automation = await ann.make(GREET)
    for _ in range(101):
        await ann.ask("ExecuteAutomation", id=automation)
    page = (await ann.ask("ListAutomationExecutions", query={"page_size": asked})).body
    assert len(page["automationExecutions"]) == given


async def test_a_size_that_is_no_number_is_named(ann: Desk) -> None:
    with pytest.raises(InvalidArgument, match="page_size: must be a whole number"):
        await ann.ask("ListAutomations", query={"page_size": "ten"})


@pytest.mark.parametrize("token", ["x", "====", "é", "A" * 5000, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
async def test_garbage_is_refused_naming_the_field(ann: Desk, token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token: is not a token for this query"):
        await ann.ask("ListAutomations", query={"page_token": token})
    with pytest.raises(InvalidArgument, match="pageToken: is not a token for this query"):
        await ann.ask("SearchAutomations", {"pageToken": token})


async def test_a_token_is_good_for_its_query_and_its_tenant_alone(ann: Desk) -> None:
    eve = await ann.of_another_tenant()
    for _ in range(11):
        await ann.make(WAIT)
        await eve.make(WAIT)
    body = {"pageSize": 10, "query": "automation"}
    token = (await ann.ask("SearchAutomations", body)).body["nextPageToken"]
    assert len((await ann.ask("SearchAutomations", {**body, "pageToken": token})).body["list"]) == 1
    with pytest.raises(InvalidArgument):
        await eve.ask("SearchAutomations", {**body, "pageToken": token})
    with pytest.raises(InvalidArgument):
        await ann.ask("SearchAutomations", {"pageSize": 10, "query": "an", "pageToken": token})
    with pytest.raises(InvalidArgument):
        await ann.ask("ListAutomations", query={"page_token": token})
