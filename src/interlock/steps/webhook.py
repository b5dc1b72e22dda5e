"""webhook: POST the rendered payload to an outbound webhook; its answer becomes `ctx.<step>.response`.

How an answer is read, as C1 documents it:

- 2xx other than 202: done. JSON with `version` and a `context` object gives that object; other JSON is taken whole; an
  empty body gives an empty object; anything else is taken as text. JSON beyond the limits (`contract.guard`) is text,
  too, and `ctx.<step>.response_problem` says why: the call was made and answered, whatever the answer holds.
- 202: the answer is POSTed to the callback URL later, until the webhook's callback timeout has passed since the first
  attempt. It may come earlier than the 202: then it is kept, and settles the step when the attempt ends.
- 410: the far end wants no more of it: the step fails at once.
- Anything else, and no answer: tried again, up to 50 attempts and the callback timeout.

A final status settles the attempt wherever the status says it all (202, 410, whatever refuses), even if the rest of the
answer is cut, beyond a limit or not HTTP. Only for a 2xx is the body needed: one that was cut with its connection is
tried again; one that the receiver sent beyond a limit, or so that its end cannot be told, fails for good, because the
receiver has done its work and would answer so again. A body whose content coding (`br`, …) cannot be undone is kept:
`response` is its base64, and `content_encoding` beside it names the coding.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import Final, Self
from urllib.parse import urlsplit

from interlock.contract import webhooks
from interlock.contract.base import from_stored
from interlock.contract.guard import NotJson, loads
from interlock.contract.steps import Webhook
from interlock.errors import InvalidArgument
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.expressions.template import Template
from interlock.net.egress import authority
from interlock.ports import HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, WebhookRow
from interlock.rules.events import Announce
from interlock.rules.model import SECOND
from interlock.rules.retry import WEBHOOK_RETRIES
from interlock.steps.callback_token import callback_url
from interlock.steps.documents import StepFailed, decode, encode, encode_made, error_document
from interlock.steps.kind import (
    Accepted,
    Attempt,
    Drafting,
    Failed,
    Form,
    Moment,
    Ready,
    Report,
    Step,
    StepEnvironment,
    Succeeded,
    idempotency_key,
    units,
)
from interlock.steps.masking import MASK

VERSION: Final = "v1"
EVENT: Final = "c1.webhooks.v1.PayloadWorkflowStep"
ATTEMPT_SECONDS: Final = 30.0
MAX_RESPONSE: Final = 250_000
MAX_PAYLOAD: Final = 256 * 1024
SHOWN_BODY: Final = 4096
"""Bytes of a refusing answer that are kept with the error."""
_PAYLOAD: Final = b',"payload":'
_NOT_KEPT: Final = frozenset({HttpFailureKind.PROTOCOL, HttpFailureKind.TOO_LARGE})


class WebhookStep(Step):
    """Calls the webhook `target`, an id or the expression that gives it."""

    kind = "webhook"
    form = Form.EFFECTFUL
    sends_key = True
    speaks_http = True
    when_interrupted = (
        "The connection is closed at once and how far the request had got is recorded; between attempts there is no "
        "further one; a callback URL goes dead, and a later callback is kept as evidence."
    )

    def __init__(self, name: str, target: str | Program, payload: Template, environment: StepEnvironment) -> None:
        self.name = name
        self.target = target
        self.payload = payload
        self.units = units(target, payload)
        self._environment = environment
        # What does not change from run to run is written once.
        self._input: bytes | None = None
        if isinstance(target, str) and payload.constant:
            self._input = _input(target, payload.fill(()))

    @classmethod
    def compile(cls, message: Webhook, drafting: Drafting, environment: StepEnvironment) -> Self | None:
        target: str | Program | None
        if message.webhook_id_cel is not None:
            target = drafting.checker.expression(
                message.webhook_id_cel, Kind.STRING, field=f"{drafting.field}.webhookIdCel", step=drafting.name
            )
        else:
            target = message.webhook_id or None
            if target is None:
                drafting.problem("", "webhookId or webhookIdCel is required")
        payload = drafting.checker.tree(message.payload or {}, field=f"{drafting.field}.payload", step=drafting.name)
        return None if target is None or payload is None else cls(drafting.name, target, payload, environment)

    async def prepare(self, moment: Moment) -> Ready:
        announced, shown = self._input, None
        if announced is None:
            target = self.target
            if not isinstance(target, str):
                target = await moment.text(target, "webhookIdCel")
            payload = await moment.render(self.payload)
            announced = _input(target, payload)
            masked, hides = moment.masked(self.payload, payload), moment.hides(self.target)
            if masked is not None or hides:
                shown = _input(MASK if hides else target, payload if masked is None else masked)
        if len(announced) > MAX_PAYLOAD:
            raise StepFailed(
                "PAYLOAD_TOO_LARGE",
                f"the payload with its values is {len(announced):,} bytes; at most {MAX_PAYLOAD:,} can be sent",
            )
        return Announce(moment.position, announced, passed=moment.passed, shown_input=shown)

    def destination(self, tenant: int, input: bytes) -> str | None:
        target = self.target
        return self._host(tenant, target if isinstance(target, str) else _parts(input)[0])

    def fixed_destination(self, tenant: int) -> str | None:
        return self._host(tenant, self.target) if isinstance(self.target, str) else None

    def _host(self, tenant: int, webhook_id: str) -> str | None:
        webhook = self._environment.webhooks.get(tenant, webhook_id)
        return None if webhook is None else host_of(webhook.url)

    async def perform(self, attempt: Attempt) -> Report:
        environment = self._environment
        webhook_id, payload = _parts(attempt.input)
        webhook = environment.webhooks.get(attempt.ref.tenant, webhook_id)
        if webhook is None or not usable(webhook, attempt.apps):
            message = "the webhook that the step names does not exist; was it deleted?"
            return Failed(error_document("WEBHOOK_NOT_FOUND", message, webhookId=webhook_id))
        request = self._request(attempt, webhook.url, payload)
        try:
            response = await environment.http.send(request, attempt.progress)
        except HttpFailed as failure:
            return _unread(failure, attempt.progress.status, self._until(attempt, webhook))
        except InvalidArgument as refused:
            return Failed(error_document("WEBHOOK_NOT_REACHED", refused.message, reason=str(HttpFailureKind.BLOCKED)))
        status = response.status
        if status == 202:
            if not environment.urls.of(attempt.ref.tenant):
                return Failed(error_document("CALLBACK_URL_UNKNOWN", _NO_CALLBACK), status)
            return Accepted(self._until(attempt, webhook), status)
        if 200 <= status < 300:
            await environment.slices.turn()
            environment.slices.spent(len(response.body))
            return Succeeded(_output(response), status)
        return _refused(response, self._until(attempt, webhook))

    def _until(self, attempt: Attempt, webhook: WebhookRow) -> int:
        # A first attempt that has yet to come was recorded by a clock that was ahead and has been put back since.
        return min(attempt.first_started_at, self._environment.clock.now()) + webhook.callback_timeout * SECOND

    def expired(self) -> bytes:
        return error_document(
            "CALLBACK_TIMEOUT", "the webhook answered 202 and did not call back before its callback timeout"
        )

    def _request(self, attempt: Attempt, url: str, payload: bytes) -> HttpRequest:
        environment = self._environment
        ref, position = attempt.ref, attempt.attempt.position
        key = idempotency_key(environment.installation, ref.id, self.name)
        # Without a URL that leads here no callback is offered: a wrong one would leave the run waiting for days.
        public_url = environment.urls.of(ref.tenant)
        callback = callback_url(public_url, environment.secret, ref, position) if public_url else ""
        head = encode({"version": VERSION, "webhookId": key, "callbackUrl": callback, "event": EVENT})
        subject = encode(
            {
                "@type": f"type.googleapis.com/{EVENT}",
                "workflowId": attempt.automation,
                "workflowExecutionId": str(ref.id),
                "workflowExecutionStepId": self.name,
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
            b"".join((head[:-1], _PAYLOAD, subject[:-1], b',"context":', payload, b"}}")),
            ATTEMPT_SECONDS,
            MAX_RESPONSE,
        )


_NO_CALLBACK: Final = (
    "the webhook answered 202, and the server does not know the URL at which it can be called back; "
    "start it with --public-url or --host"
)


def answer_output(body: bytes, status: int) -> dict[str, object]:
    """What `ctx.<step>` holds after this answer."""
    output: dict[str, object] = {"response": {}, "status_code": status}
    if body.strip():
        try:
            output["response"] = _context_of(loads(body))
        except NotJson:
            output["response"] = body.decode("utf-8", "replace")
        except InvalidArgument as refused:
            output["response"] = body.decode("utf-8", "replace")
            output["response_problem"] = refused.message
    return output


@lru_cache(maxsize=4_096)
def host_of(url: str) -> str | None:
    """Host and port of a URL, as slots are shared by them; without the port that its scheme implies."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    return authority(parts.scheme, host, port) if host else None


def usable(webhook: WebhookRow | None, apps: frozenset[str] | None) -> bool:
    """Whether steps that were published within these apps may call the webhook; None: they were not confined."""
    if webhook is None:
        return False
    if apps is None:
        return True
    return not apps.isdisjoint(from_stored(webhooks.Webhook, webhook.document).app_ids)


def read_answer(body: bytes) -> object:
    """What a response document gives, in the answer itself or in a callback."""
    return answer_output(body, 0)["response"]


def _context_of(document: object) -> object:
    """What of a response document is the answer."""
    if isinstance(document, dict) and "version" in document and isinstance(document.get("context"), dict):
        return document["context"]
    return document


def _output(response: HttpResponse) -> dict[str, object]:
    if response.coding:
        kept = b64encode(response.body).decode("ascii")
        return {"response": kept, "content_encoding": response.coding, "status_code": response.status}
    return answer_output(response.body, response.status)


def _unread(failure: HttpFailed, status: int | None, until: int) -> Report:
    """What becomes of an attempt whose answer did not come, or not as a whole."""
    if status == 202:
        return Accepted(until, status)
    if status is not None and not 200 <= status < 300:
        return _refused(HttpResponse(status, {}, b""), until)
    error = error_document("WEBHOOK_NOT_REACHED", failure.message, reason=str(failure.kind))
    if status is not None and failure.kind in _NOT_KEPT:
        message = f"the receiver answered {status}, but its answer cannot be kept: {failure.message}"
        return Failed(error_document("WEBHOOK_ANSWER_NOT_KEPT", message, reason=str(failure.kind)), status)
    if not failure.retryable:
        return Failed(error, status)
    return Failed(error, status, WEBHOOK_RETRIES, until)


def _refused(response: HttpResponse, until: int) -> Failed:
    status = response.status
    message = f"the far end answered {status}"
    if response.coding:
        details = {"body": b64encode(response.body[:SHOWN_BODY]).decode("ascii"), "content_encoding": response.coding}
    else:
        details = {"body": response.body[:SHOWN_BODY].decode("utf-8", "replace")}
    if status == 410:
        return Failed(error_document("WEBHOOK_GONE", f"{message}: it wants no more of these", **details), status)
    return Failed(error_document("WEBHOOK_REFUSED", message, **details), status, WEBHOOK_RETRIES, until)


def _input(webhook_id: str, payload: object) -> bytes:
    return b'{"webhookId":' + encode(webhook_id) + _PAYLOAD + encode_made(payload) + b"}"


def _parts(announced: bytes) -> tuple[str, bytes]:
    # The bytes of `_PAYLOAD` cannot stand inside a JSON text, where its quotes would be escaped.
    head, _, rest = announced.partition(_PAYLOAD)
    return str(decode(head[len(b'{"webhookId":') :])), rest[:-1]
