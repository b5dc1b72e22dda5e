"""A series of histories: a server of its own, raced, checked, and killed if that is wanted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

from tests.histories.checker import check, told
from tests.histories.figures import Figures
from tests.histories.model import OVER
from tests.histories.receiver import Receiver
from tests.histories.recorder import ROUND, Recorder, Subject
from tests.histories.wire import Address
from tests.servers import LOOK, ServerProcess

AT_ONCE = 2_000
"""Histories to a server; then a new one, with an empty store."""
AUTOMATIONS = 8
SHOWN = 5
"""Violations that are written out in full."""


async def series(directory: Path, count: int, seed: int, *, kill: bool = False) -> Figures:
    """Record `count` histories of a server of its own, and check each. With `kill` it dies about once a round."""
    with Receiver() as receiver:
        async with ServerProcess(directory, egress=[f"127.0.0.1:{receiver.address[1]}"]) as server:
            subject = await prepare(server, receiver)
            figures, crashes = Figures(seed), list[int]()
            with Recorder(subject, receiver, seed=seed) as recorder:
                async with _killed(server, recorder, crashes, seed) if kill else _left_alone():
                    await asyncio.to_thread(record, recorder, count, figures, crashes)
    figures.kills = len(crashes)
    return figures


async def prepare(server: ServerProcess, receiver: Receiver) -> Subject:
    """What is raced: an automation of one call, and two clients who may stop its runs."""
    async with await server.api() as api:

        async def made(path: str, body: dict[str, Any]) -> Any:
            answer = await api.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        hook = {"displayName": "receiver", "url": f"http://127.0.0.1:{receiver.address[1]}/"}
        webhook = (await made("/api/v1/webhooks", hook))["webhook"]["id"]
        steps = [{"stepName": "call", "webhook": {"webhookId": webhook}}]
        race = {"displayName": "race", "enabled": True, "automationSteps": steps}
        automations = [(await made("/api/v1/automations", race))["automation"]["id"] for _ in range(AUTOMATIONS)]
        other = await made("/interlock/v1/clients", {"displayName": "other", "roles": ["super_admin"]})
    second = replace(server, client_id=other["client"]["id"], client_secret=other["clientSecret"])
    tokens = {client.client_id: await client.token() for client in (server, second)}
    return Subject(address(server), tuple(automations), tokens)


def address(server: ServerProcess) -> Address:
    host, _, port = server.url.partition("://")[2].rpartition(":")
    return host, int(port)


def record(recorder: Recorder, count: int, figures: Figures, crashes: list[int]) -> None:
    """Record and check; what comes of it goes into `figures`."""
    begun = perf_counter()
    for runs in recorder.rounds(count):
        for run in runs:
            history = run.history(crashes)
            finding = check(history)
            figures.add(history, finding.state.state, len(run.survived(crashes)))
            if not finding.linearizable or run.state not in OVER:
                is_shown = len(figures.violations) < SHOWN
                figures.violations.append(f"{run.plan}, run {run.id}\n{told(history, finding) if is_shown else ''}")
    figures.seconds += perf_counter() - begun


@asynccontextmanager
async def _killed(server: ServerProcess, recorder: Recorder, crashes: list[int], seed: int) -> AsyncIterator[None]:
    """kill -9 at random moments, and a new start each time, for as long as the body takes."""
    chance = random.Random(seed)
    ended = asyncio.Event()

    async def has_ended(seconds: float) -> bool:
        try:
            return await asyncio.wait_for(ended.wait(), seconds)
        except TimeoutError:
            return False

    async def reap() -> None:
        while True:
            # Rarely enough that a call is not lost so often that it is given up.
            due = recorder.raced + chance.randint(ROUND // 2, 3 * ROUND // 2)
            while recorder.raced < due:
                if await has_ended(LOOK):
                    return
            if await has_ended(chance.random() * LOOK):
                return
            recorder.serving.clear()
            crashes.append(perf_counter_ns())
            await server.kill()
            await server.start()
            recorder.serving.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(reap())
        try:
            yield
        finally:
            ended.set()


@asynccontextmanager
async def _left_alone() -> AsyncIterator[None]:
    yield
