"""What a kind says about its effect is what is stored, shown and judged by; nothing is concluded from HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from interlock.contract.steps import SendSlackMessage
from interlock.ports import HttpFailureKind, Phase, Progress
from interlock.rules.events import Announce
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import WEBHOOK_RETRIES
from interlock.steps.attempt import Accepted, Attempt, Failed, Items, Report
from interlock.steps.documents import error_document
from interlock.steps.kind import CompileContext, Form, PrepareContext, Ready, Step, StepKind, interruption, step_kind
from tests.clocks import settle
from tests.engine.worlds import restarted
from tests.operations.operations_client import CALL, operations_client
from tests.operations.test_receipts import receipt, shape

pytestmark = pytest.mark.anyio

SLACK = {"stepName": "tell", "sendSlackMessage": {"channelName": "it", "body": "hello"}}
ERROR = error_document("CONNECTOR_FAILED", "the connector ended")


@dataclass
class Connector:
    """A remote that is not reached over HTTP: attempts stay open until the test says how they end."""

    key: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    reply: asyncio.Future[Report] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ConnectorStep(Step[SendSlackMessage]):
    kind = "sendSlackMessage"
    form = Form.EFFECTFUL

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    async def prepare(self, context: PrepareContext) -> Ready:
        return Announce(context.position, b"{}", passed=context.passed, key=self._connector.key)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        self._connector.attempts.append(attempt)
        return await asyncio.shield(self._connector.reply)

    def expired(self) -> bytes:
        return ERROR


def kind_of(connector: Connector) -> StepKind:
    def compiled(message: SendSlackMessage, context: CompileContext) -> ConnectorStep:
        return ConnectorStep(connector)

    return step_kind(ConnectorStep, SendSlackMessage, compiled)


def begun(progress: Progress) -> None:
    progress.may_have_acted = True


def answered(progress: Progress) -> None:
    progress.may_have_acted = progress.answered = True


def untouched(progress: Progress) -> None:
    pass


PROGRESS: dict[Reached, Callable[[Progress], None]] = {
    Reached.NOT_SENT: untouched,
    Reached.UNKNOWN: begun,
    Reached.ANSWERED: answered,
}


@pytest.mark.parametrize("key", [None, "inst:1:tell:1"])
@pytest.mark.parametrize("reached", Reached)
async def test_failure_without_http_is_listed_by_what_the_kind_says(reached: Reached, key: str | None) -> None:
    connector = Connector(key)
    async with operations_client(more_kinds=[kind_of(connector)]) as admin:
        execution = await admin.start(await admin.make(SLACK))
        connector.reply.set_result(Failed(ERROR, reached))
        await settle()
        found = await receipt(admin, execution)
        where = "unknown" if reached is Reached.UNKNOWN else "failed"
        assert shape(found) == {where: ["tell"]}
        assert found[where][0]["idempotencyKey"] == (key or "")
        [row] = await admin.engine.store.executions.steps(admin.ref(execution))
        assert (row.key, row.reached) == (key, reached)


@pytest.mark.parametrize(
    ("reached", "where", "outcome"),
    [
        (Reached.NOT_SENT, "interrupted", "INTERRUPTED_NOT_SENT"),
        (Reached.ANSWERED, "interrupted", "INTERRUPTED_RESPONSE"),
        (Reached.UNKNOWN, "unknown", "INTERRUPTED_OUTCOME_UNKNOWN"),
    ],
)
async def test_interrupt_without_http_is_judged_by_the_progress(reached: Reached, where: str, outcome: str) -> None:
    connector = Connector()
    async with operations_client(more_kinds=[kind_of(connector)]) as admin:
        execution = await admin.start(await admin.make(SLACK))
        PROGRESS[reached](connector.attempts[0].progress)
        await admin.ask("TerminateAutomation", {"reason": "enough"}, id=execution)
        await settle()
        found = await receipt(admin, execution)
        assert shape(found) == {where: ["tell"]}
        assert (found[where][0]["outcome"], found[where][0]["idempotencyKey"]) == (outcome, "")


async def test_doubt_of_an_earlier_attempt_outlives_a_certain_failure() -> None:
    connector = Connector("key")
    async with operations_client(more_kinds=[kind_of(connector)]) as admin:
        execution = await admin.start(await admin.make(SLACK))
        now = admin.engine.clock.now()
        first, connector.reply = connector.reply, asyncio.get_running_loop().create_future()
        first.set_result(Failed(ERROR, Reached.UNKNOWN, retries=WEBHOOK_RETRIES, last_start=now + 10**12))
        await settle()
        await admin.wait(3_600)
        connector.reply.set_result(Failed(ERROR, Reached.NOT_SENT))
        await settle()
        assert [attempt.key for attempt in connector.attempts] == ["key", "key"]
        assert shape(await receipt(admin, execution)) == {"unknown": ["tell"]}


async def test_call_without_a_key_that_was_accepted_can_be_asked_about_when_its_wait_is_stopped() -> None:
    connector = Connector()
    async with operations_client(more_kinds=[kind_of(connector)]) as admin:
        execution = await admin.start(await admin.make(SLACK))
        connector.reply.set_result(Accepted(admin.engine.clock.now() + 10**12))
        await settle()
        await admin.ask("TerminateAutomation", {"reason": "enough"}, id=execution)
        found = await receipt(admin, execution)
        [entry] = found["interrupted"]
        assert (entry["accepted"], entry["idempotencyKey"]) == (True, "")
        assert "to answer it later" in entry["account"]
        body = {"step": "tell", "finding": "HAPPENED", "note": "seen in the channel"}
        await admin.ask("OwnCreateAddendum", body, id=execution)
        [entry] = (await receipt(admin, execution))["interrupted"]
        assert len(entry["addenda"]) == 1


async def test_stopped_timer_was_accepted_by_nothing() -> None:
    async with operations_client() as admin:
        wait = {"stepName": "pause", "waitForDuration": {"duration": "60s"}}
        execution = await admin.start(await admin.make(wait))
        await admin.ask("TerminateAutomation", {"reason": "enough"}, id=execution)
        [entry] = (await receipt(admin, execution))["interrupted"]
        assert not entry["accepted"]


async def test_key_that_is_shown_is_the_one_that_each_attempt_sent() -> None:
    async with operations_client() as admin:
        execution = await admin.start(await admin.make(CALL))
        admin.engine.far.calls[0].answer(503)
        await settle()
        await admin.wait(60)
        async with restarted(admin.engine) as world:
            await world.clock.pass_time(60)
            keys = {call.request.headers["Idempotency-Key"] for call in world.far.calls}
            stored = {row.key for row in await world.store.executions.steps(admin.ref(execution))}
            assert len(world.far.calls) == 3
            assert keys == stored
            assert len(keys) == 1


@pytest.mark.parametrize("stays_at", [Phase.CONNECTING, Phase.WRITING, Phase.WAITING, Phase.READING])
@pytest.mark.parametrize("kind", HttpFailureKind)
async def test_failed_webhook_says_what_is_proven_of_its_request(stays_at: Phase, kind: HttpFailureKind) -> None:
    async with operations_client() as admin:
        admin.engine.far.stays_at = stays_at
        execution = await admin.start(await admin.make(CALL))
        admin.engine.far.calls[0].fail(kind)
        await settle()
        row = (await admin.engine.store.executions.steps(admin.ref(execution)))[0]
        expected = {Phase.CONNECTING: Reached.NOT_SENT, Phase.READING: Reached.ANSWERED}.get(stays_at, Reached.UNKNOWN)
        assert (row.outcome, row.reached) == (Outcome.FAILED, expected)


async def test_step_that_failed_before_it_was_announced_has_no_key_and_no_doubt() -> None:
    async with operations_client() as admin:
        large = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": {"x": "{{ ctx.trigger.x }}"}}}
        execution = await admin.start(await admin.make(large), x="y" * 300_000)
        [row] = await admin.engine.store.executions.steps(admin.ref(execution))
        assert (row.outcome, row.key, row.reached) == (Outcome.FAILED, None, None)
        assert (await admin.detail(execution))["steps"][0]["idempotencyKey"] == ""


@pytest.mark.parametrize(
    ("progress", "reached", "outcome"),
    [
        (Progress(), Reached.NOT_SENT, Outcome.INTERRUPTED_NOT_SENT),
        (Progress(Phase.WRITING), Reached.NOT_SENT, Outcome.INTERRUPTED_NOT_SENT),
        (Progress(Phase.IDLE, 1), Reached.UNKNOWN, Outcome.INTERRUPTED_OUTCOME_UNKNOWN),
        (Progress(Phase.READING, 1, 200), Reached.ANSWERED, Outcome.INTERRUPTED_RESPONSE),
        (Progress(answered=True), Reached.NOT_SENT, Outcome.INTERRUPTED_NOT_SENT),
        (Progress(may_have_acted=True), Reached.UNKNOWN, Outcome.INTERRUPTED_OUTCOME_UNKNOWN),
        (Progress(may_have_acted=True, answered=True), Reached.ANSWERED, Outcome.INTERRUPTED_RESPONSE),
    ],
)
def test_progress_proves_how_far_an_attempt_got(progress: Progress, reached: Reached, outcome: Outcome) -> None:
    assert (progress.reached, interruption(progress)) == (reached, outcome)
