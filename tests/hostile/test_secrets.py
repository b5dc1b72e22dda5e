"""A secret is sent as it is, and found neither in what is shown nor in any byte that the store keeps in the clear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.states import State
from interlock.secrets.vault import AesVault
from interlock.steps.kind import Attempt, Items, Report
from interlock.steps.webhook import WebhookStep
from tests.clocks import SequentialIds, settle
from tests.engine.worlds import engine, evaluate, restarted, run_automation, webhook
from tests.operations.desk import Desk, desk
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio

CANARY = "hunter2-correct-horse"
"""Found nowhere but where a secret was written."""
SECRETS = [CANARY, [CANARY, 1], {"inner": CANARY, CANARY: [CANARY]}, f"[secret]{CANARY}"]
MEMBERS = ["a", "b", "user_id", "response", "[secret]"]
SOURCES = [
    "ctx.s.pw",
    "ctx.s.open",
    "ctx.s",
    "ctx.d.copy",
    "ctx.d.list",
    "ctx.d",
    "ctx.trigger.n",
    "[ctx.s.pw, ctx.s.open]",
    "{'k': ctx.s.pw}",
    "ctx.s.pw == ctx.s.open",
    "'[secret]'",
]
TEXTS = st.sampled_from(["", "Bearer ", "[secret]", "é\u2028", '"}'])
HOLES = st.sampled_from(SOURCES).map(lambda source: f"{{{{ {source} }}}}")
LEAVES = st.one_of(HOLES, TEXTS, st.integers(0, 9), st.tuples(TEXTS, HOLES, TEXTS, HOLES).map("".join))
TREES = st.dictionaries(
    st.sampled_from(MEMBERS),
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=3),
        max_leaves=5,
    ),
    min_size=1,
    max_size=4,
)
DERIVED = evaluate("d", copy="ctx.s.pw", list="[ctx.s.open, ctx.s.pw]", open="ctx.s.open")
WAIT = {"stepName": "wait", "waitForDuration": {"duration": "1209600s"}}
AFTER = evaluate("after", echo="ctx.call.response", status="ctx.call.status_code")


def login(secret: Any, *, hidden: bool = True) -> dict[str, Any]:
    """A step that makes the secret; it is written nowhere in the automation, whose source is shown."""
    source = json.dumps(secret).replace(CANARY, 'hunter2-correct" + "-horse').replace("8150815", "8150000 + 815")
    return evaluate("s", secret=["pw"] if hidden else [], pw=source, open="'alice'")


def stored(ann: Desk) -> Iterator[tuple[str, bytes]]:
    """All that the store keeps."""
    store = sqlite(ann.services.store)
    tables = [name for (name,) in store._reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for row in store._reader.execute(f"SELECT * FROM {table}"):
            for value in row:
                yield table, value if isinstance(value, bytes) else str(value).encode()


async def shown(ann: Desk, run: int) -> str:
    """All that the views of a run show."""
    execution = (await ann.ask("GetAutomationExecution", id=run)).body
    receipt = (await ann.ask("OwnGetReceipt", id=run)).body
    audit = await ann.services.store.audit.rows(ann.tenant.id)
    return f"{await ann.detail(run)} {execution} {receipt} {audit}"


async def expect_hidden(ann: Desk) -> None:
    leaks = {table for table, value in stored(ann) if CANARY.encode() in value}
    assert leaks == set()
    runs = (await ann.ask("ListAutomationExecutions")).body["automationExecutions"]
    for row in runs:
        assert CANARY not in await shown(ann, int(row["id"]))


async def answer_with_echo(ann: Desk, status: int) -> Any:
    """Answer the open call with what it sent; what it sent is returned."""
    [call] = ann.engine.far.open
    context = call.body["payload"]["context"]
    call.answer(status, json.dumps({"version": "v1", "context": {"echo": context}}).encode())
    await settle()
    return context


async def run_of(ann: Desk, secret: Any, payload: Any, *, hidden: bool) -> Any:
    """A run that is refused once, called back by its receiver, and then starts a child; what it sent each time."""
    called = webhook("called", {"p": "{{ ctx.trigger }}"})
    child = await ann.make(evaluate("again", x="ctx.trigger"), called)
    steps = (login(secret, hidden=hidden), DERIVED, webhook("call", payload), AFTER)
    await ann.start(await ann.make(*steps, run_automation("go", child, payload), WAIT), n=1)
    sent = [await answer_with_echo(ann, 400)]
    await ann.wait(60)
    [again] = ann.engine.far.open
    token = str(again.request.headers["Webhook-Callback-Url"]).rsplit("/", 1)[1]
    sent.append(await answer_with_echo(ann, 202))
    [row] = (await ann.ask("ListAutomationExecutions")).body["automationExecutions"]
    await ann.ask("OwnReceiveCallback", {"echo": sent}, path={"execution": row["id"], "token": token})
    await settle()
    if ann.engine.far.open:
        sent.append(await answer_with_echo(ann, 200))
    return sent


@given(st.sampled_from(SECRETS), TREES)
async def test_what_is_sent_is_the_value_and_what_is_stored_or_shown_is_the_mask(secret: Any, payload: Any) -> None:
    async with desk() as plain:
        expected = await run_of(plain, secret, payload, hidden=False)
    async with desk() as ann:
        sent = await run_of(ann, secret, payload, hidden=True)
        assert json.dumps(sent) == json.dumps(expected)
        await expect_hidden(ann)


async def test_secret_in_the_clear_is_found_out() -> None:
    async with desk() as ann:
        await run_of(ann, CANARY, {"p": "{{ ctx.s.pw }}"}, hidden=False)
        with pytest.raises(AssertionError):
            await expect_hidden(ann)
        assert {table for table, value in stored(ann) if CANARY.encode() in value} == {"steps", "inputs"}


@pytest.mark.parametrize("secret", [CANARY, 8150815], ids=str)
async def test_child_is_not_found_by_a_subject_that_a_secret_names(secret: Any) -> None:
    async with desk() as ann:
        child = await ann.make(WAIT, context={"context": {"user_id": "by default"}})
        await ann.start(await ann.make(login(secret), run_automation("go", child, {"user_id": "{{ ctx.s.pw }}"})))
        newest = (await ann.ask("ListAutomationExecutions")).body["automationExecutions"][0]
        assert (await ann.detail(int(newest["id"])))["trigger"] == {"user_id": "[secret]"}
        for subject in (str(secret), "[secret]", "by default"):
            found = (await ann.ask("SearchAllAutomationExecutions", {"subjectUserIds": [subject]})).body
            assert found["list"] == [], subject
        assert not [table for table, value in stored(ann) if str(secret).encode() in value]


async def test_plain_text_that_looks_like_a_mask_stays_plain() -> None:
    async with desk() as ann:
        child = await ann.make(evaluate("copy", x="ctx.trigger.plain", y="ctx.trigger.pw"), WAIT)
        given_ = {"plain": "[secret] or not", "pw": "{{ ctx.s.pw }}"}
        await ann.start(await ann.make(login(CANARY), run_automation("go", child, given_)))
        newest = (await ann.ask("ListAutomationExecutions")).body["automationExecutions"][0]
        [copy, _] = (await ann.detail(int(newest["id"])))["steps"]
        assert copy["output"] == {"x": "[secret] or not", "y": "[secret]"}


OTHER_KEY = AesVault([b"o" * 32], SequentialIds())


async def test_run_whose_key_is_missing_ends_and_sends_nothing() -> None:
    async with engine() as world:
        sends = webhook("call", {"p": "{{ ctx.s.pw }}"})
        ref = await world.start(await world.publish([login(CANARY), WAIT, sends]))
        async with restarted(world, vault=OTHER_KEY) as again:
            again.clock.advance(1209600)
            await settle()
            assert again.error(ref)["code"] == "SECRET_UNREADABLE"
            assert (again.state(ref), again.far.calls) == (State.ERROR, [])


async def test_key_that_was_replaced_still_opens_what_it_sealed() -> None:
    async with engine() as world:
        sends = webhook("call", {"p": "{{ ctx.s.pw }}"})
        await world.start(await world.publish([login(CANARY), WAIT, sends]))
        async with restarted(world, vault=AesVault([b"o" * 32, b"k" * 32], SequentialIds())) as again:
            again.clock.advance(1209600)
            await settle()
            assert again.far.calls[-1].body["payload"]["context"] == {"p": CANARY}


async def test_damaged_input_is_not_sent() -> None:
    async with engine() as world:
        ref = await world.start(await world.publish([login(CANARY), webhook("call", {"p": "{{ ctx.s.pw }}"})]))
        damage = "UPDATE steps SET sealed_input = CAST(x'31' || zeroblob(60) AS BLOB) WHERE position = 1"
        await sqlite(world.store).writer.submit(lambda made: made.execute(damage).fetchall())
        async with restarted(world) as again:
            assert again.error(ref)["code"] == "SECRET_UNREADABLE"
            last = again.steps(ref)[-1]
            assert (last.outcome, last.reached, len(again.far.calls)) == (Outcome.FAILED, Reached.NOT_SENT, 1)
            assert again.state(ref) is State.ERROR


async def test_step_is_performed_with_the_mask_in_its_input_and_the_secret_in_its_request() -> None:
    inputs: list[bytes] = []

    class Watched(WebhookStep):
        async def perform(self, attempt: Attempt, items: Items) -> Report:
            inputs.append(attempt.input)
            return await super().perform(attempt, items)

    async with engine(webhook_step=Watched) as world:
        await world.start(await world.publish([login(CANARY), webhook("call", {"p": "{{ ctx.s.pw }}"})]))
        assert [json.loads(each)["payload"] for each in inputs] == [{"p": "[secret]"}]
        assert world.far.calls[0].body["payload"]["context"] == {"p": CANARY}


async def test_retention_removes_sealed_documents() -> None:
    async with desk() as ann:
        await run_of(ann, CANARY, {"p": "{{ ctx.s.pw }}"}, hidden=True)
        for row in (await ann.ask("ListAutomationExecutions")).body["automationExecutions"]:
            await ann.ask("TerminateAutomation", id=row["id"])
        await settle()
        ann.engine.clock.advance(91 * 24 * 3600)
        while await ann.services.store.retention.remove(ann.engine.clock.now()):
            pass
        store = sqlite(ann.services.store)
        for table, column in (("steps", "sealed_input"), ("steps", "sealed_output"), ("inputs", "sealed")):
            query = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"
            assert next(store._reader.execute(query)) == (0,), (table, column)
