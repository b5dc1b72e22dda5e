"""The whole engine in memory, in virtual time, with a receiver that answers when the test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from anyio.lowlevel import checkpoint

from interlock.assembly.step_kinds import RELEASED, KindParts, Kinds, step_kinds, webhook_kind
from interlock.auth.tenants import PublicUrls
from interlock.engine.advance import Advance
from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.plans import Plans
from interlock.engine.prepare import Preparer
from interlock.engine.start import Starter, StartRequest
from interlock.errors import InterlockError, Unavailable
from interlock.expressions.environment import Environment
from interlock.expressions.evaluate import Evaluator, LocalEvaluator
from interlock.ports import (
    AuditEntry,
    AutomationRow,
    Definition,
    Executions,
    HttpFailed,
    HttpFailureKind,
    HttpRequest,
    HttpResponse,
    Marks,
    NoMarks,
    Phase,
    Progress,
    Run,
    StepRow,
    Store,
    Vault,
    WebhookRow,
)
from interlock.rules.decision import Decision
from interlock.rules.events import Event, Terminated
from interlock.rules.model import SECOND, Actor, Execution, Mode, Ref, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.secrets.vault import AesVault
from interlock.steps.kind import StepKind
from interlock.steps.registry import StepRegistry
from interlock.steps.webhook import WebhookAddresses, WebhookStep
from interlock.store.sqlite.store import SqliteStore
from simulation.reads import finished
from tests.clocks import FixedChance, ManualClock, SequentialIds, settle

ANN = Actor("ann@localhost", "127.0.0.1")
AUDIT = AuditEntry(actor=ANN, action="test.change", target="x")
INSTALLATION = "inst"
SECRET = b"s" * 32
VAULT = AesVault([b"k" * 32], SequentialIds())
OK = b'{"version":"v1","context":{"ok":true}}'

# One environment for all tests: the CEL engine is expensive to create, and holds no state of a run.
ENVIRONMENT = Environment()


@dataclass
class Call:
    """A request to the receiver."""

    request: HttpRequest
    progress: Progress
    reply: asyncio.Future[HttpResponse]
    cut: bool = False

    @property
    def body(self) -> Any:
        return json.loads(self.request.body)

    def answer(self, status: int = 200, body: bytes = OK, coding: str = "") -> None:
        self.progress.status = status
        self.progress.phase = Phase.DONE
        self.reply.set_result(HttpResponse(status, {}, body, coding))

    def fail(self, kind: HttpFailureKind = HttpFailureKind.RESET) -> None:
        self.reply.set_exception(HttpFailed(kind, "no answer"))


@dataclass
class FarEnd:
    """`ports.Http` whose calls stay open until the test answers them; with `always` each is answered at once."""

    always: Callable[[HttpRequest], tuple[int, bytes]] | None = None
    calls: list[Call] = field(default_factory=list)
    deaf: bool = False
    """Whether a call ignores its cancellation until it is answered."""
    stays_at: Phase = Phase.WAITING
    """The phase that a request reaches without an answer."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        call = Call(request, progress, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        progress.phase = self.stays_at
        if self.stays_at in (Phase.WAITING, Phase.READING):
            progress.bytes_written = len(request.body)
        if self.stays_at is Phase.WRITING:
            progress.bytes_written = 1
        if self.stays_at is Phase.READING:
            progress.status = 200
        if self.always is not None:
            call.answer(*self.always(request))
        while True:
            try:
                return await asyncio.shield(call.reply)
            except asyncio.CancelledError:
                call.cut = True
                if not self.deaf:
                    raise

    def check_url(self, url: str) -> None: ...

    @property
    def open(self) -> list[Call]:
        """The calls that are neither answered nor cancelled."""
        return [call for call in self.calls if not call.reply.done() and not call.cut]


class SteppingFarEnd(FarEnd):
    """Answers each call itself, with a turn of the loop between two phases."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        call = Call(request, progress, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        try:
            progress.phase = Phase.CONNECTING
            await checkpoint()
            progress.phase, progress.bytes_written = Phase.WRITING, 1
            await checkpoint()
            progress.phase, progress.bytes_written = Phase.WAITING, len(request.body)
            await checkpoint()
            progress.phase, progress.status = Phase.READING, 200
            await checkpoint()
        except asyncio.CancelledError:
            call.cut = True
            raise
        call.answer()
        return call.reply.result()


def webhook(name: str, payload: Any = None, **more: Any) -> dict[str, Any]:
    return {"stepName": name, "webhook": {"webhookId": "hook", "payload": payload or {}}, **more}


def wait(name: str, duration: str, **more: Any) -> dict[str, Any]:
    return {"stepName": name, "waitForDuration": {"duration": duration}, **more}


def evaluate(name: str, secret: Sequence[str] = (), **expressions: str) -> dict[str, Any]:
    given = [{"key": k, "expressionCel": v, "isSecret": k in secret} for k, v in expressions.items()]
    return {"stepName": name, "evaluateExpressions": {"expressions": given}}


def run_automation(name: str, id: str, context: Any = None) -> dict[str, Any]:
    given = {"automationTemplateRef": {"id": id}, "context": {"context": context or {}}}
    return {"stepName": name, "runAutomation": given}


THREE_WEBHOOKS = [webhook("a"), webhook("b"), webhook("c")]


class FlakyExecutions:
    """`ports.Executions` of a store whose commits can have an unknown outcome."""

    def __init__(self, real: Executions) -> None:
        self._real = real
        self.lose_orders = 0
        """The number of next commits that are not made."""
        self.lose_replies = 0
        """The number of next commits that are made without an answer."""
        self.meanwhile: list[Event] = []
        """An event of the run before its next commit."""
        self.first: Callable[[], Awaitable[None]] | None = None
        """What the store commits before the next event."""
        self.events: list[Event] = []
        """The events that were applied."""
        self.refuses: Callable[[Event], bool] = lambda event: False
        """The events that the store cannot write, because of a defect."""
        self.loads = 0
        """How many times a run was loaded."""

    async def load(self, ref: Ref) -> Run | None:
        self.loads += 1
        return await self._real.load(ref)

    async def apply(self, ref: Ref, event: Event) -> Decision | None:
        self.events.append(event)
        if self.first is not None:
            first, self.first = self.first, None
            await first()
        while self.meanwhile:
            await self._real.apply(ref, self.meanwhile.pop(0))
        if self.refuses(event):
            raise InterlockError("the store refused a statement")
        if self.lose_orders:
            self.lose_orders -= 1
            raise Unavailable
        decision = await self._real.apply(ref, event)
        if self.lose_replies:
            self.lose_replies -= 1
            raise Unavailable
        return decision

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@dataclass
class Engine:
    """One process on a store. A new one on the same store is the server after a restart."""

    store: Store
    clock: ManualClock
    far: FarEnd
    tenant: int
    ids: SequentialIds
    chance: FixedChance
    slots: int = 256
    near: int = 10_000
    name: str = "one"
    webhook_step: type[WebhookStep] = WebhookStep
    kind_settings: Mapping[str, str] = field(default_factory=dict)
    """What an operator set for step kinds."""
    more_kinds: Sequence[StepKind] = ()
    """The step kinds of the test."""
    addressing: Callable[[WebhookAddresses], WebhookAddresses] = lambda real: real
    """Wraps the webhooks of the store for the steps."""
    dispatching: type[EmbeddedDispatcher] = EmbeddedDispatcher
    evaluating: Callable[[], Evaluator] = LocalEvaluator
    marks: Marks = field(default_factory=NoMarks)
    vault: Vault = VAULT

    def __post_init__(self) -> None:
        self.executions = FlakyExecutions(self.store.executions)
        self.evaluator = self.evaluating()
        self.urls = PublicUrls(self.store.access, "https://interlock.example")
        self.addresses = self.addressing(self.store.webhooks)
        parts = KindParts(
            http=self.far,
            webhooks=self.addresses,
            clock=self.clock,
            ids=self.ids,
            urls=self.urls,
            installation=INSTALLATION,
            secret=SECRET,
            slices=self.evaluator.slices,
            settings=self.kind_settings,
        )
        kinds: Kinds = {**RELEASED, WebhookStep: partial(webhook_kind, step=self.webhook_step)}
        self.registry = StepRegistry([*step_kinds(parts, kinds), *self.more_kinds])
        self.plans = Plans(self.store.automations, self.registry, ENVIRONMENT)
        self.preparer = Preparer(self.clock, self.evaluator, self.vault)
        self.advance = Advance(
            self.executions,
            self.plans,
            self.preparer,
            self.clock,
            self.chance,
            f"holder-{self.name}",
            self.marks,
            slices=self.evaluator.slices,
            vault=self.vault,
        )
        self.dispatcher = self.dispatching(
            self.store.executions, self.advance, self.clock, slots=self.slots, near=self.near, marks=self.marks
        )
        self.starter = Starter(self.store.executions, self.plans, self.dispatcher, self.clock, self.ids, self.vault)
        self._running: asyncio.Task[None] | None = None

    async def up(self) -> None:
        self.store.listen(self.dispatcher)
        await self.dispatcher.recover()
        self._running = asyncio.get_running_loop().create_task(self.dispatcher.run())
        await settle()

    async def down(self) -> None:
        """End the process as a crash does: no attempt in flight is settled."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        await self.evaluator.aclose()

    async def publish(self, steps: Sequence[dict[str, Any]], id: str = "auto", context: Any = None) -> int:
        row = AutomationRow(
            tenant=self.tenant, id=id, document=b"{}", version=0, definition=None, created_at=1, updated_at=1
        )
        defaults = None if context is None else json.dumps({"context": context}).encode()
        plan = Definition(
            tenant=self.tenant,
            id=0,
            automation=id,
            version=1,
            steps=json.dumps(list(steps)).encode(),
            triggers=b"[]",
            context=defaults,
            created_at=1,
        )
        made = await self.store.automations.create(row, plan, AUDIT)
        assert made.definition is not None
        return made.definition

    async def begin(self, definition: int, trigger: dict[str, Any] | None = None, automation: str = "auto") -> Ref:
        """Start a run without a further turn of the loop."""
        started = await self.starter.start(StartRequest(self.tenant, automation, definition, ANN, trigger or {}))
        return started.execution.ref

    async def start(self, definition: int, trigger: dict[str, Any] | None = None, automation: str = "auto") -> Ref:
        ref = await self.begin(definition, trigger, automation)
        await settle()
        return ref

    async def order(self, ref: Ref, *, mode: Mode = Mode.INTERRUPT, deadline: int = 10 * SECOND) -> None:
        """Commit a termination without a further turn of the loop."""
        await self.store.executions.apply(
            ref, Terminated(self.clock.now(), TerminationRequest(ANN, "enough", mode, deadline=deadline))
        )

    async def terminate(self, ref: Ref, *, mode: Mode = Mode.INTERRUPT, deadline: int = 10 * SECOND) -> None:
        await self.order(ref, mode=mode, deadline=deadline)
        await settle()

    def row(self, ref: Ref) -> Execution:
        found = finished(self.store.executions.get(ref))
        assert found is not None
        return found

    def state(self, ref: Ref) -> State:
        return self.row(ref).state

    def steps(self, ref: Ref) -> list[StepRow]:
        return finished(self.store.executions.steps(ref))

    def outcomes(self, ref: Ref) -> list[Outcome | None]:
        return [row.outcome for row in self.steps(ref)]

    def output(self, ref: Ref, position: int) -> Any:
        return next(json.loads(row.output or b"null") for row in self.steps(ref) if row.position == position)

    def error(self, ref: Ref) -> Any:
        return next(json.loads(row.error) for row in reversed(self.steps(ref)) if row.error is not None)


@asynccontextmanager
async def engine(**options: Any) -> AsyncIterator[Engine]:
    """Run a server with one tenant and the webhook `hook`."""
    store = options.pop("store", None) or SqliteStore(None)
    tenant = await store.access.create_tenant("default", ("localhost",), 1, AUDIT)
    hook = WebhookRow(
        tenant=tenant.id,
        id="hook",
        document=b"{}",
        url="https://far.example/in",
        callback_timeout=8 * 24 * 3600,
        created_at=1,
        updated_at=1,
    )
    await store.webhooks.create(hook, AUDIT)
    far = options.pop("far", None) or FarEnd()
    clock = options.pop("clock", None) or ManualClock()
    made = Engine(store, clock, far, tenant.id, SequentialIds(), FixedChance(), **options)
    await made.up()
    try:
        yield made
    finally:
        await made.down()
        await store.close()


@asynccontextmanager
async def restarted(before: Engine, **options: Any) -> AsyncIterator[Engine]:
    """Run the server after a crash: another process on the same store."""
    await before.down()
    made = Engine(
        before.store, before.clock, before.far, before.tenant, before.ids, before.chance, name="two", **options
    )
    await made.up()
    try:
        yield made
    finally:
        await made.down()
