"""Hostile requests: each as expensive as a caller can make it within the documented limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from benchmarks.client import request
from benchmarks.subject import Subject

CONNECTIONS: Final = 4
"""Connections that send hostile requests, one after the other."""
ANSWER_SECONDS: Final = 2.0
"""How long a sender waits for an answer before it hangs up and goes on."""
UNREAD_PAGES: Final = 40

Wires = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of hostile input.

    `wires` prepares what it needs, given the subject and the URL of the hostile receiver, and gives the requests.
    """

    name: str
    wires: Callable[[Subject, str], Awaitable[Wires]]
    is_read: bool = True
    """Whether the sender reads the answers."""


@contextlib.asynccontextmanager
async def under_attack(subject: Subject, attack: Attack, receiver: str) -> AsyncIterator[None]:
    """The attack goes on within this context."""
    wires = await attack.wires(subject, receiver)
    send = _send if attack.is_read else _leave_unread
    senders = [asyncio.create_task(send(subject, wires)) for _ in range(CONNECTIONS)]
    try:
        yield
    finally:
        for sender in senders:
            sender.cancel()
        ended = await asyncio.gather(*senders, return_exceptions=True)
        if broken := [each for each in ended if isinstance(each, Exception)]:
            raise broken[0]


async def _send(subject: Subject, wires: Wires) -> None:
    """Send one request after the other; after each answer, and if there is none, over a new connection."""
    while True:
        reader, writer = await asyncio.open_connection(*subject.address)
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(next(wires))
                await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def _leave_unread(subject: Subject, wires: Wires) -> None:
    """Ask for pages over one connection after the other and read none of them."""
    while True:
        lines = [await asyncio.open_connection(*subject.address) for _ in range(UNREAD_PAGES)]
        for _, writer in lines:
            writer.write(next(wires) * 20)
        await asyncio.sleep(ANSWER_SECONDS)
        for _, writer in lines:
            writer.close()


def _repeated(subject: Subject, method: str, path: str, body: object, *more: tuple[str, str]) -> Wires:
    wire = request(method, path, json.dumps(body).encode(), headers=subject.headers(*more))
    while True:
        yield wire


# --- headers and tokens -----------------------------------------------------------------------------------------------


async def _prefer(subject: Subject, receiver: str) -> Wires:
    path = "/api/v1/automation_executions/1/actions/terminate"
    return _repeated(subject, "POST", path, {}, ("Prefer", "a=" + " " * 1_000 + '"""'))


async def _tokens(subject: Subject, receiver: str) -> Wires:
    fields = [("Host", ":".join(map(str, subject.address))), ("Content-Type", "application/x-www-form-urlencoded")]
    form = b"grant_type=client_credentials&client_id=unknown@127.0.0.1/pcc&client_secret=" + b"x" * 2_000
    wire = request("POST", "/auth/v1/token", form, headers=fields)
    return iter(lambda: wire, b"")


async def _pages(subject: Subject, receiver: str) -> Wires:
    await subject.start_many(await subject.long_wait(), 200)
    body = {"pageSize": 100}
    return _repeated(subject, "POST", "/api/v1/search/all_automation_executions", body)


# --- automations ------------------------------------------------------------------------------------------------------


def _drafts(subject: Subject, steps: Callable[[int], list[object]]) -> Wires:
    for number in count():
        body = {"displayName": f"hostile {number}", "isDraft": True, "automationSteps": steps(number)}
        yield request("POST", "/api/v1/automations", json.dumps(body).encode(), headers=subject.headers())


def _payload(name: str, payload: object) -> object:
    return {"stepName": name, "webhook": {"webhookId": "none", "payload": payload}}


async def _template(subject: Subject, receiver: str) -> Wires:
    return _drafts(subject, lambda number: [_payload("call", {"text": '{{ "' + '\\"' * 16_000, "n": number})])


async def _large(subject: Subject, receiver: str) -> Wires:
    """Nearly as many bytes as a body may have, all of them expressions that were never seen before."""

    def steps(number: int) -> list[object]:
        parts = [f'{{{{ ctx.trigger.a{number}x{part} + "{"x" * 200}" }}}}' for part in range(3_000)]
        return [_payload(f"call_{at}", {"texts": parts[at : at + 300]}) for at in range(0, len(parts), 300)]

    return _drafts(subject, steps)


# --- runs -------------------------------------------------------------------------------------------------------------


async def _runs(subject: Subject, name: str, steps: list[object], context: object) -> Wires:
    automation = await subject.automation(name, steps)
    return _repeated(subject, "POST", f"/api/v1/automations/{automation}/execute", {"context": {"context": context}})


def _evaluate(*expressions: str) -> object:
    pairs = [{"key": f"v{number}", "expressionCel": cel} for number, cel in enumerate(expressions)]
    return {"stepName": "evaluate", "evaluateExpressions": {"expressions": pairs}}


async def _matches(subject: Subject, receiver: str) -> Wires:
    found = 'ctx.trigger.text.matches("(a|aa|b.{0,50}c)*d")'
    return await _runs(subject, "Matches", [_evaluate(found, found, found)], {"text": "ab" * 200_000})


async def _nulls(subject: Subject, receiver: str) -> Wires:
    expressions = ["ctx.trigger.manager", "ctx.trigger.manager.filter(x, x == null).size()"]
    return await _runs(subject, "Nulls", [_evaluate(*expressions)], {"manager": [None] * 40_000})


async def _called(subject: Subject, receiver: str, path: str, *after: object) -> Wires:
    webhook = await subject.webhook(receiver + path)
    call = {"stepName": "call", "webhook": {"webhookId": webhook, "payload": {"employee": "{{ ctx.trigger.name }}"}}}
    return await _runs(subject, path, [call, *after], {"name": "Ann"})


async def _interim(subject: Subject, receiver: str) -> Wires:
    return await _called(subject, receiver, "/interim")


async def _early(subject: Subject, receiver: str) -> Wires:
    return await _called(subject, receiver, "/early")


async def _number(subject: Subject, receiver: str) -> Wires:
    return await _called(subject, receiver, "/number", _evaluate("ctx.call.response.n"))


async def _answered_nulls(subject: Subject, receiver: str) -> Wires:
    return await _called(subject, receiver, "/nulls", _evaluate("ctx.call.response.manager.size()"))


ATTACKS: Final = (
    Attack("a `Prefer` header of blanks and quotes", _prefer),
    Attack("wrong requests for a token", _tokens),
    Attack("pages that are not read", _pages, is_read=False),
    Attack("a template with an open text of 32 kB", _template),
    Attack("automations of 0.7 MB, each with 3,000 new expressions", _large),
    Attack("three regular expressions over 0.4 MB", _matches),
    Attack("expressions over 40,000 nulls", _nulls),
    Attack("a remote that sends interim responses without end", _interim),
    Attack("a remote that calls back before it answers", _early),
    Attack("a remote whose answer holds 1e400", _number),
    Attack("a remote whose answer holds 20,000 nulls", _answered_nulls),
)
