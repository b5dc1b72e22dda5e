"""A secret is sent as it is, and found neither in what is shown nor in any byte that the store keeps in the clear."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.ports import HttpRequest, Store
from interlock.rules.events import Announce
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import RetryPolicy
from interlock.rules.states import State
from interlock.secrets.vault import AesVault
from interlock.steps.attempt import Attempt, Failed, Items, Report, Succeeded
from interlock.steps.documents import error_document
from interlock.steps.kind import PrepareContext, Ready
from interlock.steps.webhook import WebhookStep
from tests.clocks import SECOND, SequentialIds, settle
from tests.engine.recipients import MAILS, NAMES, RecipientsStep, recipients
from tests.engine.worlds import FarEnd, engine, evaluate, restarted, run_automation, webhook
from tests.operations.operations_client import OperationsClient, operations_client
from tests.store.stores import on_connection, sqlite

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


def stored(kept: Store) -> Iterator[tuple[str, bytes]]:
    """All that the store keeps, with the name of its table."""
    store = sqlite(kept)
    tables = [name for (name,) in store._reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for row in store._reader.execute(f"SELECT * FROM {table}"):
            for value in row:
                yield table, value if isinstance(value, bytes) else str(value).encode()


def leaking_tables(kept: Store, secret: str = CANARY) -> set[str]:
    """The tables that hold the secret in the clear."""
    return {table for table, value in stored(kept) if secret.encode() in value}


async def shown(admin: OperationsClient, run: int) -> str:
    """All that the views of a run show."""
    execution = (await admin.ask("GetAutomationExecution", id=run)).body
    receipt = (await admin.ask("OwnGetReceipt", id=run)).body
    audit = await admin.services.store.audit.rows(admin.tenant.id)
    return f"{await admin.detail(run)} {execution} {receipt} {audit}"


async def expect_hidden(admin: OperationsClient) -> None:
    assert leaking_tables(admin.services.store) == set()
    runs = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"]
    for row in runs:
        assert CANARY not in await shown(admin, int(row["id"]))


async def answer_with_echo(admin: OperationsClient, status: int) -> Any:
    """Answer the open call with what it sent; what it sent is returned."""
    [call] = admin.engine.far.open
    context = call.body["payload"]["context"]
    call.answer(status, json.dumps({"version": "v1", "context": {"echo": context}}).encode())
    await settle()
    return context


class _Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """What is logged meanwhile, at any level."""
    handler, logger = _Kept(), logging.getLogger("interlock")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


async def run_of(admin: OperationsClient, secret: Any, payload: Any, *, hidden: bool) -> Any:
    """A run that is refused once, called back by its receiver, and then starts a child; what it sent each time."""
    called = webhook("called", {"p": "{{ ctx.trigger }}"})
    child = await admin.make(evaluate("again", x="ctx.trigger"), called)
    steps = (login(secret, hidden=hidden), DERIVED, webhook("call", payload), AFTER)
    await admin.start(await admin.make(*steps, run_automation("go", child, payload), WAIT), n=1)
    sent = [await answer_with_echo(admin, 400)]
    await admin.wait(60)
    [again] = admin.engine.far.open
    token = str(again.request.headers["Webhook-Callback-Url"]).rsplit("/", 1)[1]
    sent.append(await answer_with_echo(admin, 202))
    [row] = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"]
    await admin.ask("OwnReceiveCallback", {"echo": sent}, path={"execution": row["id"], "token": token})
    await settle()
    if admin.engine.far.open:
        sent.append(await answer_with_echo(admin, 200))
    return sent


@given(st.sampled_from(SECRETS), TREES)
async def test_what_is_sent_is_the_value_and_what_is_stored_or_shown_is_the_mask(secret: Any, payload: Any) -> None:
    async with operations_client() as plain:
        expected = await run_of(plain, secret, payload, hidden=False)
    async with operations_client() as admin:
        with logged() as log:
            sent = await run_of(admin, secret, payload, hidden=True)
            await expect_hidden(admin)
        assert json.dumps(sent) == json.dumps(expected)
        assert CANARY not in str([vars(record) for record in log])


async def test_secret_in_the_clear_is_found_out() -> None:
    async with operations_client() as admin:
        await run_of(admin, CANARY, {"p": "{{ ctx.s.pw }}"}, hidden=False)
        with pytest.raises(AssertionError):
            await expect_hidden(admin)
        assert leaking_tables(admin.services.store) == {"steps", "inputs"}


@pytest.mark.parametrize("secret", [CANARY, 8150815], ids=str)
async def test_child_is_not_found_by_a_subject_that_a_secret_names(secret: Any) -> None:
    async with operations_client() as admin:
        child = await admin.make(WAIT, context={"context": {"user_id": "by default"}})
        await admin.start(await admin.make(login(secret), run_automation("go", child, {"user_id": "{{ ctx.s.pw }}"})))
        newest = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"][0]
        assert (await admin.detail(int(newest["id"])))["trigger"] == {"user_id": "[secret]"}
        for subject in (str(secret), "[secret]", "by default"):
            found = (await admin.ask("SearchAllAutomationExecutions", {"subjectUserIds": [subject]})).body
            assert found["list"] == [], subject
        assert leaking_tables(admin.services.store, str(secret)) == set()


async def test_plain_text_that_looks_like_a_mask_stays_plain() -> None:
    async with operations_client() as admin:
        child = await admin.make(evaluate("copy", x="ctx.trigger.plain", y="ctx.trigger.pw"), WAIT)
        given_ = {"plain": "[secret] or not", "pw": "{{ ctx.s.pw }}"}
        await admin.start(await admin.make(login(CANARY), run_automation("go", child, given_)))
        newest = (await admin.ask("ListAutomationExecutions")).body["automationExecutions"][0]
        [copy, _] = (await admin.detail(int(newest["id"])))["steps"]
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
        await sqlite(world.store).writer.submit(on_connection(lambda made: made.execute(damage).fetchall()))
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


class SecretRecipients(RecipientsStep):
    """Sends a secret to each recipient, and returns what they answered: the secret."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        secret = json.dumps({"pw": CANARY}).encode()
        return replace(ready, input=b'{"pw":"[secret]"}', sealed=context.seal_input(secret))

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            request = HttpRequest("POST", "https://far.example/in", {}, attempt.reveal(), 30.0, 1_000)
            response = await self._http.send(request, attempt.progress)
            if response.status == 200:
                await items.settle(item.number, Succeeded({"response": json.loads(response.body), "to": item.name}))
            else:
                error = error_document("REFUSED", "refused", body=response.body.decode())
                await items.settle(item.number, Failed(error, Reached.ANSWERED, response.status, self._retries))
        return Succeeded({"response": [each.output for _, each in sorted(items.settled.items())], "count": 3})


async def test_items_keep_the_secrets_of_their_answers_sealed_over_a_retry_and_a_restart() -> None:
    far = FarEnd()
    twice = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)
    kinds = [recipients(far, retries=twice, step=SecretRecipients)]
    async with engine(far=far, more_kinds=kinds) as world:
        ref = await world.start(await world.publish([MAILS, webhook("call", {"p": "{{ ctx.mail.response }}"})]))
        for status in (200, 503, 200):
            [call] = far.open
            call.answer(status, call.request.body)
            await settle()
        async with restarted(world, more_kinds=kinds) as again:
            await again.clock.pass_time(1)
            [call] = far.open
            call.answer(200, call.request.body)
            await settle()
            answers = [{"response": {"pw": CANARY}, "to": name} for name in NAMES]
            assert far.calls[-1].body["payload"]["context"] == {"p": answers}
            [(_, output)] = await again.store.executions.outputs(ref)
            assert json.loads(output) == {"response": "[secret]", "count": 3}
            assert leaking_tables(world.store) == set()
            items = await again.store.executions.items(ref)
            outputs = [json.loads(each.output or b"null") for each in items]
            assert [each and each["response"] for each in outputs] == ["[secret]", None, "[secret]", "[secret]"]


async def test_callback_that_comes_early_or_late_is_kept_sealed() -> None:
    async with operations_client() as admin:
        again = webhook("again", {"p": "{{ ctx.call.response }}"})
        run = await admin.start(await admin.make(login(CANARY), webhook("call", {"p": "{{ ctx.s.pw }}"}), again))
        call = admin.engine.far.calls[0]
        token = str(call.request.headers["Webhook-Callback-Url"]).rsplit("/", 1)[1]
        path = {"execution": str(run), "token": token}
        await admin.ask("OwnReceiveCallback", {"early": CANARY}, path=path)
        await expect_hidden(admin)
        call.answer(202, b"")
        await settle()
        assert admin.engine.far.calls[-1].body["payload"]["context"] == {"p": {"early": CANARY}}
        admin.engine.far.open[0].answer(200, json.dumps({"echo": CANARY}).encode())
        await settle()
        await expect_hidden(admin)
        assert await admin.state(run) == "DONE"


async def test_late_answer_to_a_call_with_a_secret_is_masked_evidence() -> None:
    far = FarEnd(deaf=True)
    async with engine(far=far) as world:
        ref = await world.start(await world.publish([login(CANARY), webhook("call", {"p": "{{ ctx.s.pw }}"})]))
        await world.terminate(ref, deadline=SECOND)
        await world.clock.pass_time(2)
        assert world.state(ref) is State.TERMINATE
        far.calls[0].answer(200, json.dumps({"echo": CANARY}).encode())
        await settle()
        [evidence] = json.loads(world.steps(ref)[-1].late or b"[]")
        assert (evidence["outcome"], evidence["output"]["response"]) == ("LATE_SUCCEEDED", "[secret]")
        assert leaking_tables(world.store) == set()


async def test_retention_removes_sealed_documents() -> None:
    async with operations_client() as admin:
        await run_of(admin, CANARY, {"p": "{{ ctx.s.pw }}"}, hidden=True)
        for row in (await admin.ask("ListAutomationExecutions")).body["automationExecutions"]:
            await admin.ask("TerminateAutomation", id=row["id"])
        await settle()
        admin.engine.clock.advance(91 * 24 * 3600)
        while await admin.services.store.retention.remove(admin.engine.clock.now()):
            pass
        store = sqlite(admin.services.store)
        for table, column in (("steps", "sealed_input"), ("steps", "sealed_output"), ("inputs", "sealed")):
            query = f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"
            assert next(store._reader.execute(query)) == (0,), (table, column)
