"""A kind with items for tests: one call for each recipient of a message, over the HTTP of the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from interlock.contract.steps import SendEmail
from interlock.ports import Http, HttpFailed, HttpRequest
from interlock.rules.events import Announce
from interlock.rules.model import Item
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.steps.attempt import Attempt, Failed, Items, Report, Succeeded
from interlock.steps.documents import encode, error_document
from interlock.steps.kind import CompileContext, Form, PrepareContext, Ready, Step, StepKind, idempotency_key, step_kind

NAMES = ("ann", "bob", "eve")
MAILS: dict[str, Any] = {"stepName": "mail", "sendEmail": {"subject": "hello"}}


class RecipientsStep(Step[SendEmail]):
    """Calls one recipient after another."""

    kind = "sendEmail"
    form = Form.EFFECTFUL

    def __init__(self, http: Http, names: Sequence[str], retries: RetryPolicy) -> None:
        self._http = http
        self._names = names
        self._retries = retries

    async def prepare(self, context: PrepareContext) -> Ready:
        items = tuple(Item(number, name) for number, name in enumerate(self._names))
        key = idempotency_key("inst", context.ref.id, "mail")
        return Announce(context.position, b"{}", items, context.passed, key=key)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            key = items.key(item.number)
            assert key is not None
            body = encode({"to": item.name})
            request = HttpRequest("POST", "https://far.example/in", {"Idempotency-Key": key}, body, 30.0, 1_000)
            try:
                response = await self._http.send(request, attempt.progress)
            except HttpFailed:
                report = Failed(error_document("LOST", "no answer"), attempt.progress.reached, None, self._retries)
                await items.settle(item.number, report)
                continue
            status = response.status
            if status == 200:
                await items.settle(item.number, Succeeded({"status": status}, status))
            else:
                retries = self._retries if status >= 500 else NO_RETRIES
                error = error_document("REFUSED", f"answered {status}")
                await items.settle(item.number, Failed(error, Reached.ANSWERED, status, retries))
        return Succeeded(
            {
                str(outcome): [each.item.name for _, each in sorted(items.settled.items()) if each.outcome is outcome]
                for outcome in (Outcome.SUCCEEDED, Outcome.FAILED)
            }
        )


class TolerantStep(RecipientsStep):
    tolerates_failed_items = True


def recipients(
    http: Http,
    names: Sequence[str] = NAMES,
    *,
    retries: RetryPolicy = NO_RETRIES,
    step: Callable[[Http, Sequence[str], RetryPolicy], RecipientsStep] = RecipientsStep,
) -> StepKind:
    """Return the kind, for the registry of a test."""

    def compiled(message: SendEmail, context: CompileContext) -> RecipientsStep:
        return step(http, names, retries)

    return step_kind(RecipientsStep, SendEmail, compiled)
