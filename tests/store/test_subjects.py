"""The subject of a run: its trigger data name it, and runs are found by it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from interlock.ports import Definition
from interlock.rules.children import StartChild
from interlock.rules.events import Change, Prepared, Terminated
from interlock.rules.model import Ref, TerminationRequest
from interlock.rules.states import State
from interlock.rules.subject import subject_names
from interlock.store.migrations import migrations
from interlock.store.sqlite.connection import migrate
from simulation.reads import finished
from tests.store.stores import ANN, AUDIT, PLAN, World, insert_run, make_schema, opened, world

pytestmark = pytest.mark.anyio

TOLD: list[tuple[Any, dict[str, Any], str | None]] = [
    (None, {"user_id": "u1"}, "u1"),
    (None, {"userId": "u1"}, "u1"),
    (None, {"user_id": "u1", "userId": "u2"}, "u1"),
    (None, {"userId": "u2", "user_id": ""}, "u2"),
    (None, {"userId": "u2", "user_id": 7}, "7"),
    (None, {"user_id": 12345}, "12345"),
    (None, {"userId": -7}, "-7"),
    (None, {"user_id": 18446744073709551615}, "18446744073709551615"),
    (None, {"user_id": 9007199254740993}, "9007199254740993"),
    (None, {"user_id": True}, None),
    (None, {"user_id": 7.0}, None),
    ({"user_id": 7}, {}, "7"),
    ({"user_id": 7}, {"user_id": "u1"}, "u1"),
    (None, {"user_id": ["u1"]}, None),
    (None, {"nested": {"user_id": "u1"}}, None),
    (None, {"name": "u1"}, None),
    (None, {}, None),
    ({"user_id": "u1"}, {}, "u1"),
    ({"user_id": "u1"}, {"user_id": "u2"}, "u2"),
    ({"user_id": "u1"}, {"userId": "u2"}, "u1"),
    ({"user_id": "u1"}, {"user_id": None}, None),
    ({"user_id": "u1", "userId": "u2"}, {"user_id": None}, "u2"),
    ({"userId": "u1"}, {"userId": {"id": "u1"}}, None),
    ({"userId": "u1"}, {"user_id": "é\u0000\U0001f600"}, "é\u0000\U0001f600"),
    ({"n": 1}, {"n": 2}, None),
]
"""The context of the automation, the trigger data of a run, and the subject of the run."""
OTHERS = ["u1", "u2", "é\u0000\U0001f600", "7", '["u1"]', "", "null", "1", "true", "7.0"]
OTHERS += ["12345", "-7", "18446744073709551615", "1.8446744073709552e+19", "9007199254740993", "9007199254740992"]


def about(here: World, subject: str, **narrowing: Any) -> list[int]:
    return [row.id for row in finished(here.store.executions.page(here.tenant, subjects=[subject], **narrowing))]


async def with_context(here: World, context: Any) -> int:
    """Store a draft of the automation with this context."""
    stored = None if context is None else json.dumps({"context": context}).encode()
    draft = Definition(
        tenant=here.tenant,
        id=0,
        automation=here.automation,
        version=0,
        steps=PLAN,
        triggers=b"[]",
        context=stored,
        created_at=1,
    )
    return (await here.store.automations.draft(draft)).id


async def definition_of(here: World) -> Definition:
    found = await here.store.automations.definition(here.tenant, here.definition)
    assert found is not None
    return found


class SubjectsContract:
    """The contract of the port: every store passes it."""

    @pytest.mark.parametrize(("context", "given", "subject"), TOLD)
    async def test_the_data_of_a_run_say_whom_it_is_about(
        self, here: World, context: Any, given: dict[str, Any], subject: str | None
    ) -> None:
        here.definition = await with_context(here, context)
        row = (await here.start(input=json.dumps(given).encode())).execution
        found = [other for other in OTHERS if about(here, other)]
        assert found == ([] if subject is None else [subject])
        assert row.id in ([row.id] if subject is None else about(here, subject))

    async def test_a_child_is_about_whom_it_is_told(self, here: World) -> None:
        row = (await here.start()).execution
        data = {"user_id": "u1"}
        child = StartChild(77, here.automation, json.dumps(data).encode(), b"{}", names=subject_names(data))
        change = Change(0, child)
        await here.store.executions.apply(row.ref, Prepared(2_000, row.epoch, change, "me"))
        assert about(here, "u1") == [77]

    @pytest.mark.parametrize(("context", "given", "subject"), TOLD)
    async def test_child_has_the_subject_that_a_started_run_has(
        self, here: World, context: Any, given: dict[str, Any], subject: str | None
    ) -> None:
        row = (await here.start()).execution
        stored = await here.store.automations.get(here.tenant, here.automation)
        assert stored is not None
        published = replace(await definition_of(here), context=json.dumps({"context": context}).encode())
        await here.store.automations.update(stored, published, AUDIT, read_at=stored.updated_at)
        child = StartChild(77, here.automation, json.dumps(given).encode(), b"{}", names=subject_names(given))
        change = Change(0, child)
        await here.store.executions.apply(row.ref, Prepared(2_000, row.epoch, change, "me"))
        assert [other for other in OTHERS if about(here, other)] == ([] if subject is None else [subject])

    async def test_run_whose_context_cannot_be_read_has_no_subject(self, here: World) -> None:
        for number, context in enumerate((b"{", b"[]", b"1", b"[" * 100_000), 1):
            draft = replace(await definition_of(here), context=context, created_at=number)
            here.definition = (await here.store.automations.draft(draft)).id
            assert (await here.start(input=b'{"name":"u1"}')).execution.state is State.PENDING
        assert about(here, "u1") == []

    async def test_pages_about_a_person_are_newest_first_and_filtered(self, here: World) -> None:
        ids = [(await here.start(input=b'{"user_id":"u%d"}' % (n % 2))).execution.id for n in range(8)]
        ours = ids[1::2]
        stopped = Ref(here.tenant, ours[1])
        await here.store.executions.apply(stopped, Terminated(2_000, TerminationRequest(ANN)))
        assert about(here, "u1") == ours[::-1]
        assert about(here, "u1", before=ours[2], limit=1) == [ours[1]]
        assert about(here, "u1", states=[State.TERMINATE]) == [ours[1]]
        assert about(here, "u1", states=[State.PENDING], automations=[here.automation]) == [ours[3], ours[2], ours[0]]
        assert about(here, "u1", automations=["other"]) == []
        both = await here.store.executions.page(here.tenant, subjects=["u0", "u1", "u0"])
        assert [row.id for row in both] == ids[::-1]
        assert await here.store.executions.page(here.tenant + 1, subjects=["u1"]) == []


class TestOnDisk(SubjectsContract):
    @pytest.fixture
    async def here(self, tmp_path: Path) -> AsyncIterator[World]:
        async with opened(tmp_path) as store:
            yield await world(store)


class TestInMemory(SubjectsContract):
    @pytest.fixture
    async def here(self) -> AsyncIterator[World]:
        async with opened(None) as store:
            yield await world(store)


def test_runs_of_before_are_found_by_whom_they_are_about() -> None:
    connection = apsw.Connection(":memory:")
    make_schema(connection, 10)
    for number, (context, given, _) in enumerate(TOLD, 1):
        stored = None if context is None else json.dumps({"context": context}).encode()
        connection.execute(
            "INSERT INTO definitions VALUES (1, ?, 'auto', 0, ?, x'', x'', ?, 1)",
            (number, number.to_bytes(32, "big"), stored),
        )
        insert_run(connection, number, State.DONE)
        connection.execute("INSERT INTO inputs VALUES (1, ?, ?)", (number, json.dumps(given).encode()))
    assert migrate(connection) == len(migrations()) - 10
    assert [subject for (subject,) in connection.execute("SELECT subject FROM executions ORDER BY id")] == [
        subject for _, _, subject in TOLD
    ]
