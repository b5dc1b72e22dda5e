"""Clients and requests for the tests of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from anyio.lowlevel import checkpoint

from interlock.net.egress import EgressPolicy
from interlock.net.http import GuardedHttp
from interlock.ports import HttpRequest
from tests.receivers import PATIENCE

LOCAL = EgressPolicy.parse(["127.0.0.1"])


class Names:
    """A resolver that knows what the test told it. Each answer is used once, the last one for ever."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): list(answers) for name, answers in names.items()}

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def local() -> GuardedHttp:
    """A client that may go to 127.0.0.1, every port."""
    return GuardedHttp(LOCAL, resolver=Names())


def get(url: str, *, timeout: float = 10.0, max_response: int = 250_000) -> HttpRequest:
    return HttpRequest("GET", url, {}, timeout=timeout, max_response=max_response)


def post(url: str, body: bytes = b'{"a":1}', *, timeout: float = 10.0, max_response: int = 250_000) -> HttpRequest:
    return HttpRequest("POST", url, {"Content-Type": "application/json"}, body, timeout, max_response)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await checkpoint()
