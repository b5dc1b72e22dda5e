"""Step kinds with items for tests: one call for each recipient of a message, over whatever HTTP the test has.

A kind of the release that calls several receivers does the same with its own messages. `MailStep` sends an idempotency
key with each call, and repeats what failed or was lost; `ChatStep` has no keys, and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from interlock.contract.base import Message
from interlock.contract.steps import SendEmail, SendSlackMessage
from interlock.ports import Http, HttpFailed, HttpRequest
from interlock.rules.events import Announce
from interlock.rules.model import SECOND, Item
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.steps.attempt import Attempt, Failed, ItemReport, Items, Report, Succeeded
from interlock.steps.documents import encode, error_document
from interlock.steps.kind import CompileContext, Form, PrepareContext, Ready, Step, StepKind, idempotency_key, step_kind

MessageT = TypeVar("MessageT", bound=Message, covariant=True)

CALL: Final = "Recipient-Call"
"""The header that says for which execution, step and item a call is made: a kind without keys says it nowhere else."""
TOLERANT: Final = "go on after a recipient that cannot be reached"
"""The body of a message whose step goes on after a failed item."""
MAIL_RETRIES: Final = RetryPolicy(attempts=3, min_gap=SECOND, max_gap=5 * SECOND)
TIMEOUT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Recipients:
    """What an automation says of a step with items."""

    names: tuple[str, ...]
    tolerant: bool
    repeatable: bool


def message(names: Sequence[str], *, tolerant: bool) -> dict[str, Any]:
    """The message of a step that calls these recipients, for either kind."""
    return {"userRefs": [{"id": name} for name in names], "body": TOLERANT if tolerant else ""}


def recipients_of(step: Mapping[str, Any]) -> Recipients:
    """What a step of either kind says."""
    kind = "sendEmail" if "sendEmail" in step else "sendSlackMessage"
    given = step[kind]
    names = tuple(ref["id"] for ref in given["userRefs"])
    return Recipients(names, tolerant=given["body"] == TOLERANT, repeatable=kind == "sendEmail")


class RecipientsStep(Step[MessageT]):
    """Calls each recipient, one after the other."""

    form = Form.EFFECTFUL
    retries: ClassVar[RetryPolicy]
    sends_keys: ClassVar[bool]

    def __init__(self, http: Http, name: str, names: Sequence[str], *, tolerant: bool) -> None:
        self._http = http
        self._name = name
        self._names = names
        self.tolerates_failed_items = tolerant

    async def prepare(self, context: PrepareContext) -> Ready:
        items = tuple(Item(number, name) for number, name in enumerate(self._names))
        key = idempotency_key("installation", context.ref.id, self._name) if self.sends_keys else None
        return Announce(context.position, b"{}", items, context.passed, key=key)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            await items.settle(item.number, await self.called(attempt, items, item))
        reached = [each.item.name for each in items.settled.values() if each.outcome is Outcome.SUCCEEDED]
        return Succeeded({"reached": sorted(reached), "response": {"n": len(reached)}})

    def url(self, item: Item) -> str:
        """Return where a recipient is called."""
        return "https://far.example/in"

    async def called(self, attempt: Attempt, items: Items, item: Item) -> ItemReport:
        """Call one recipient."""
        headers = {CALL: f"{attempt.ref.id}:{self._name}:{item.name}"}
        key = items.key(item.number)
        if key is not None:
            headers["Idempotency-Key"] = key
        body = encode({"to": item.name})
        request = HttpRequest("POST", self.url(item), headers, body, TIMEOUT_SECONDS, MAX_ANSWER_BYTES)
        try:
            response = await self._http.send(request, attempt.progress)
        except HttpFailed as failure:
            return Failed(error_document("LOST", failure.message), attempt.progress.reached, None, self.retries)
        status = response.status
        if 200 <= status < 300:
            return Succeeded({"status": status}, status)
        retries = self.retries if status >= 500 else NO_RETRIES
        return Failed(error_document("REFUSED", f"answered {status}"), Reached.ANSWERED, status, retries)


class MailStep(RecipientsStep[SendEmail]):
    """Repeats what failed or was lost, with the same key."""

    kind = "sendEmail"
    retries = MAIL_RETRIES
    sends_keys = True


class ChatStep(RecipientsStep[SendSlackMessage]):
    """Repeats nothing: its receiver would not know a call again."""

    kind = "sendSlackMessage"
    repeatable = False
    retries = NO_RETRIES
    sends_keys = False


def kinds(http: Http, mail: type[MailStep] = MailStep, chat: type[ChatStep] = ChatStep) -> tuple[StepKind, StepKind]:
    """Both kinds, with steps of these classes."""

    def compile_mail(message: SendEmail, context: CompileContext) -> MailStep:
        return mail(http, context.name, _names(message), tolerant=message.body == TOLERANT)

    def compile_chat(message: SendSlackMessage, context: CompileContext) -> ChatStep:
        return chat(http, context.name, _names(message), tolerant=message.body == TOLERANT)

    return step_kind(MailStep, SendEmail, compile_mail), step_kind(ChatStep, SendSlackMessage, compile_chat)


def _names(message: SendEmail | SendSlackMessage) -> list[str]:
    return [ref.id for ref in message.user_refs]
