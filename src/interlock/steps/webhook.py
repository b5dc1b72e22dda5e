"""webhook: POST the rendered payload to an outbound webhook; its answer becomes `ctx.<step>.response`.

How an answer is read, as C1 documents it:

- 2xx other than 202: done. JSON with `version` and a `context` object gives that object; other JSON is taken whole; an
  empty body gives an empty object; anything else is taken as text. JSON beyond the limits (`contract.guard`) is text,
  too, and `ctx.<step>.response_problem` says why: the call was made and answered, whatever the answer holds.
- 202: the answer is POSTed to the callback URL later, until the webhook's callback timeout has passed since the first
  attempt. It may come earlier than the 202: then it is kept, and settles the step when the attempt ends.
- 410: the receiver accepts no more calls: the step fails immediately.
- Anything else, and no answer: tried again, up to 50 attempts and the callback timeout.

A final status settles the attempt wherever the status says it all (202, 410, whatever refuses), even if the rest of the
answer is cut, beyond a limit or not HTTP. Only for a 2xx is the body needed: one that was cut with its connection is
tried again; one that the receiver sent beyond a limit, or so that its end cannot be told, fails for good, because the
receiver has done its work and would answer so again. A body whose content coding (`br`, …) cannot be undone is kept:
`response` is its base64, and `content_encoding` beside it names the coding.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol, Self

from interlock.contract.steps import Webhook
from interlock.errors import InvalidArgument
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.expressions.template import Template
from interlock.ports import Clock, Http, HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, Progress, WebhookRow
from interlock.rules.events import Announce
from interlock.rules.model import SECOND
from interlock.rules.outcomes import Reached
from interlock.rules.retry import WEBHOOK_RETRIES
from interlock.rules.values import value
from interlock.steps.answers import answer_output
from interlock.steps.attempt import Accepted, Attempt, Failed, Items, Report, Succeeded
from interlock.steps.callback_token import callback_url
from interlock.steps.destination import host_of
from interlock.steps.documents import StepFailed, decode, encode, encode_made, error_document
from interlock.steps.kind import (
    CompileContext,
    Form,
    PrepareContext,
    Ready,
    Step,
    StepKind,
    idempotency_key,
    step_kind,
    units,
)
from interlock.steps.masking import MASK
from interlock.steps.targets import Resource, Target, is_usable
from interlock.system import Slices

VERSION: Final = "v1"
EVENT: Final = "c1.webhooks.v1.PayloadWorkflowStep"
ATTEMPT_SECONDS: Final = 30.0
MAX_RESPONSE: Final = 250_000
MAX_PAYLOAD: Final = 256 * 1024
SHOWN_BODY: Final = 4096
"""Bytes of a refusing answer that are kept with the error."""
_PAYLOAD: Final = b',"payload":'
_NOT_KEPT: Final = frozenset({HttpFailureKind.PROTOCOL, HttpFailureKind.TOO_LARGE})
_FINAL: Final = frozenset({HttpFailureKind.BLOCKED, HttpFailureKind.TOO_LARGE})
"""Failures that a retry would meet again."""


class WebhookAddresses(Protocol):
    """The one thing that the steps ask of `ports.Webhooks`."""

    async def get(self, tenant: int, id: str) -> WebhookRow | None: ...


class TenantUrls(Protocol):
    """Where remotes reach each tenant."""

    async def of(self, tenant: int) -> str:
        """The tenant's URL, without a slash at its end."""
        ...


@value(frozen=True, slots=True)
class _Resources:
    """What the steps act on."""

    http: Http
    webhooks: WebhookAddresses
    clock: Clock
    urls: TenantUrls
    installation: str
    secret: bytes
    slices: Slices


class WebhookStep(Step[Webhook]):
    """Calls the webhook `target`, an id or the expression that gives it."""

    kind = "webhook"
    form = Form.EFFECTFUL

    def __init__(self, name: str, target: str | Program, payload: Template, resources: _Resources) -> None:
        self.name = name
        self.target = target
        self.payload = payload
        self.units = units(target, payload)
        self._resources = resources
        # What does not change from run to run is written once.
        self._named: tuple[str, bytes] | None = None
        self._input: bytes | None = None
        if isinstance(target, str):
            self._named = target, _head(target)
            if payload.constant:
                self._input = _input(self._named[1], payload.fill(()))

    @classmethod
    def compile(cls, message: Webhook, context: CompileContext, *, resources: _Resources) -> Self | None:
        target: str | Program | None
        if message.webhook_id_cel is not None:
            target = context.expression(message.webhook_id_cel, Kind.STRING, "webhookIdCel")
        else:
            target = message.webhook_id or None
            if target is not None:
                context.names(Target(Resource.WEBHOOK, target), "webhookId")
            else:
                context.problem("", "webhookId or webhookIdCel is required")
        payload = context.tree(message.payload or {}, "payload")
        return None if target is None or payload is None else cls(context.name, target, payload, resources)

    @classmethod
    def receiver(cls, input: Mapping[str, object]) -> Target | None:
        named = input.get("webhookId")
        return Target(Resource.WEBHOOK, named) if isinstance(named, str) else None

    async def prepare(self, context: PrepareContext) -> Ready:
        announced, shown, sealed = self._input, None, None
        if announced is None:
            target = self.target
            if not isinstance(target, str):
                target = await context.text(target, "webhookIdCel")
            head = _head(target) if self._named is None else self._named[1]
            payload = await context.render(self.payload)
            announced = _input(head, payload)
            masked, hides = context.masked(self.payload, payload), context.hides(self.target)
            if masked is not None or hides:
                shown = _input(_head(MASK) if hides else head, payload if masked is None else masked.shown)
        if len(announced) > MAX_PAYLOAD:
            raise StepFailed(
                "PAYLOAD_TOO_LARGE",
                f"the payload with its values is {len(announced):,} bytes; at most {MAX_PAYLOAD:,} can be sent",
            )
        if shown is not None:
            announced, sealed = shown, context.seal_input(announced)
        key = idempotency_key(self._resources.installation, context.ref.id, self.name)
        return Announce(context.position, announced, passed=context.passed, sealed=sealed, key=key)

    async def destination(self, tenant: int, input: bytes) -> str | None:
        target = self.target
        return await self._host(tenant, target if isinstance(target, str) else _parts(input)[0])

    async def fixed_destination(self, tenant: int) -> str | None:
        return await self._host(tenant, self.target) if isinstance(self.target, str) else None

    async def _host(self, tenant: int, webhook_id: str) -> str | None:
        webhook = await self._resources.webhooks.get(tenant, webhook_id)
        return None if webhook is None else host_of(webhook.url)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        resources = self._resources
        webhook_id, payload = self._parts(attempt.reveal())
        webhook = await resources.webhooks.get(attempt.ref.tenant, webhook_id)
        if webhook is None or not is_usable(webhook, attempt.apps):
            message = "the webhook that the step names does not exist; was it deleted?"
            return Failed(error_document("WEBHOOK_NOT_FOUND", message, webhookId=webhook_id), Reached.NOT_SENT)
        # Read before the call: an answer that has come must not wait for a read that an interrupt can cut.
        public_url = await resources.urls.of(attempt.ref.tenant)
        request = self._request(attempt, webhook.url, public_url, payload)
        try:
            response = await resources.http.send(request, attempt.progress)
        except HttpFailed as failure:
            return _unread(failure, attempt.progress, self._until(attempt, webhook))
        except InvalidArgument as refused:
            error = error_document("WEBHOOK_NOT_REACHED", refused.message, reason=str(HttpFailureKind.BLOCKED))
            return Failed(error, Reached.NOT_SENT)
        status = response.status
        if status == 202:
            if not public_url:
                return Failed(error_document("CALLBACK_URL_UNKNOWN", _NO_CALLBACK), Reached.ANSWERED, status)
            return Accepted(self._until(attempt, webhook), status)
        if 200 <= status < 300:
            await resources.slices.turn()
            resources.slices.spent(len(response.body))
            return Succeeded(_output(response), status)
        return _refused(response, self._until(attempt, webhook))

    def _parts(self, announced: bytes) -> tuple[str, bytes]:
        """Return the id of the webhook and the payload that were announced."""
        named = self._named
        if named is not None and announced.startswith(named[1]):
            return named[0], announced[len(named[1]) : -1]
        return _parts(announced)

    def _until(self, attempt: Attempt, webhook: WebhookRow) -> int:
        # A first attempt that has yet to come was recorded by a clock that was ahead and has been put back since.
        return min(attempt.first_started_at, self._resources.clock.now()) + webhook.callback_timeout * SECOND

    def expired(self) -> bytes:
        return error_document(
            "CALLBACK_TIMEOUT", "the webhook answered 202 and did not call back before its callback timeout"
        )

    def _request(self, attempt: Attempt, url: str, public_url: str, payload: bytes) -> HttpRequest:
        resources = self._resources
        ref, position = attempt.ref, attempt.attempt.position
        key = attempt.key
        if key is None:
            raise TypeError("a webhook is announced with its idempotency key")
        # Without a URL that leads here no callback is offered: a wrong one would leave the run waiting for days.
        callback = callback_url(public_url, resources.secret, ref, position) if public_url else ""
        envelope = encode(
            {
                "version": VERSION,
                "webhookId": key,
                "callbackUrl": callback,
                "event": EVENT,
                "payload": {
                    "@type": f"type.googleapis.com/{EVENT}",
                    "workflowId": attempt.automation,
                    "workflowExecutionId": str(ref.id),
                    "workflowExecutionStepId": self.name,
                },
            }
        )
        return HttpRequest(
            "POST",
            url,
            {
                "Content-Type": "application/json",
                "Webhook-Version": VERSION,
                "Webhook-Id": key,
                "Webhook-Event": EVENT,
                **({"Webhook-Callback-Url": callback} if callback else {}),
                "Idempotency-Key": key,
            },
            b"".join((envelope[:-2], b',"context":', payload, b"}}")),
            ATTEMPT_SECONDS,
            MAX_RESPONSE,
        )


_NO_CALLBACK: Final = (
    "the webhook answered 202, and the server does not know the URL at which it can be called back; "
    "start it with --public-url or --host"
)


def _output(response: HttpResponse) -> dict[str, object]:
    if response.coding:
        kept = b64encode(response.body).decode("ascii")
        return {"response": kept, "content_encoding": response.coding, "status_code": response.status}
    return answer_output(response.body, response.status)


def _unread(failure: HttpFailed, progress: Progress, until: int) -> Report:
    """The report of an attempt whose answer did not come, or not as a whole."""
    status, reached = progress.status, progress.reached
    if status == 202:
        return Accepted(until, status)
    if status is not None and not 200 <= status < 300:
        return _refused(HttpResponse(status, {}, b""), until)
    error = error_document("WEBHOOK_NOT_REACHED", failure.message, reason=str(failure.kind))
    if status is not None and failure.kind in _NOT_KEPT:
        message = f"the receiver answered {status}, but its answer cannot be kept: {failure.message}"
        return Failed(error_document("WEBHOOK_ANSWER_NOT_KEPT", message, reason=str(failure.kind)), reached, status)
    if failure.kind in _FINAL:
        return Failed(error, reached, status)
    return Failed(error, reached, status, WEBHOOK_RETRIES, until)


def _refused(response: HttpResponse, until: int) -> Failed:
    status = response.status
    message = f"the receiver answered {status}"
    if response.coding:
        details = {"body": b64encode(response.body[:SHOWN_BODY]).decode("ascii"), "content_encoding": response.coding}
    else:
        details = {"body": response.body[:SHOWN_BODY].decode("utf-8", "replace")}
    if status == 410:
        error = error_document("WEBHOOK_GONE", f"{message}: it accepts no more calls", **details)
        return Failed(error, Reached.ANSWERED, status)
    error = error_document("WEBHOOK_REFUSED", message, **details)
    return Failed(error, Reached.ANSWERED, status, WEBHOOK_RETRIES, until)


def _head(webhook_id: str) -> bytes:
    return b'{"webhookId":' + encode(webhook_id) + _PAYLOAD


def _input(head: bytes, payload: object) -> bytes:
    return head + encode_made(payload) + b"}"


def _parts(announced: bytes) -> tuple[str, bytes]:
    # The bytes of `_PAYLOAD` cannot stand inside a JSON text, where its quotes would be escaped.
    head, _, rest = announced.partition(_PAYLOAD)
    return str(decode(head[len(b'{"webhookId":') :])), rest[:-1]


def kind(
    http: Http,
    webhooks: WebhookAddresses,
    *,
    clock: Clock,
    urls: TenantUrls,
    installation: str,
    secret: bytes,
    slices: Slices,
    step: type[WebhookStep] = WebhookStep,
) -> StepKind:
    """The kind.

    Args:
        http: makes the calls.
        webhooks: finds the URL of a webhook, when it is called.
        clock: tells whether there is time for another attempt.
        urls: where remotes reach each tenant, for callback URLs.
        installation: names this installation in idempotency keys; must never change.
        secret: signs callback URLs; must never change.
        slices: spreads large answers that come together over turns of the loop.
        step: the class of its steps.
    """
    resources = _Resources(http, webhooks, clock, urls, installation, secret, slices)
    return step_kind(step, Webhook, partial(step.compile, resources=resources))
