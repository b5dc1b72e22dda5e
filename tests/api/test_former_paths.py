"""Paths of the release before are served as they were, and documented nowhere."""

from __future__ import annotations

import pytest

from interlock.api.openapi import document
from interlock.operations.table import FORMER, OPERATIONS
from tests.api.app_client import app_client

pytestmark = pytest.mark.anyio

FORMER_PATH = "/interlock/v1/terminations"
PATH = "/interlock/v1/bulkTerminations"


def test_every_former_path_has_the_checks_of_its_present_one() -> None:
    present = {(row.method, row.path): row for row in OPERATIONS}
    assert {(row.method, row.path.replace(FORMER_PATH, PATH)) for row in FORMER} == {
        key for key in present if key[1].startswith(PATH)
    }
    for row in FORMER:
        now = present[row.method, row.path.replace(FORMER_PATH, PATH)]
        checks = (row.id, row.permission, row.lane, row.within_apps, row.request, row.body_limit)
        assert checks == (now.id, now.permission, now.lane, now.within_apps, now.request, now.body_limit)


def test_former_paths_are_not_in_the_document() -> None:
    assert [path for path in document(OPERATIONS)["paths"] if path.startswith(FORMER_PATH)] == []


async def test_former_path_gives_the_member_its_former_name() -> None:
    async with app_client((*OPERATIONS, *FORMER)) as admin:
        created = await admin.ask("POST", FORMER_PATH, {"filter": {"allExecutions": True}, "reason": "over"})
        assert created.status == 200
        id_ = created.tree["terminations"]["id"]
        before = await admin.ask("GET", f"{FORMER_PATH}/{id_}")
        now = await admin.ask("GET", f"{PATH}/{id_}")
        assert before.tree == {"terminations": now.tree["bulkTermination"]}
        listed = [(await admin.ask("GET", path)).tree for path in (FORMER_PATH, PATH)]
        assert listed[0] == listed[1]
        assert [row["id"] for row in listed[1]["list"]] == [id_]
