"""The scenario that is interrupted at every point: a run of six steps, and every way to stop a run.

A `Baseline` is made once: a receiver, and a data directory with automations, webhooks and the runs to stop. A `Play` is
one play on a copy of it. It keeps the facts that it was told, continues where it was interrupted, as a client that
repeats unanswered requests does, and reports at the end what is wrong.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import apsw
import httpx2

from tests.faults.facts import Fact, Look, called_back, in_state, ordered, started, stopped
from tests.faults.fork_server import ForkServer, Server
from tests.receivers import Answer, Held, Received, Receiver
from tests.servers import LOOK, PATIENCE, http_client

LEASE = 0.5
"""Seconds from the beginning of a play until the leased run is no longer wanted."""
OVER = frozenset({"DONE", "ERROR", "TERMINATE"})
LATER = 4
"""Which of the six steps is answered later."""


class Refused(Exception):
    """The server answered, and not with what was asked for."""

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__(f"{answer.status_code} {answer.text}")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Told:
    """What a client was told, by which answer, and whether that answered a request to change something."""

    fact: Fact
    answer: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """The end of a process: how many requests the receiver had of this play, and what the database held."""

    requests: int
    look: Look


@dataclass
class Baseline:
    """A receiver, and a data directory to copy. `automations` and `runs` are by name."""

    fork_server: ForkServer
    receiver: Receiver
    directory: Path
    token: str = ""
    automations: dict[str, str] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def made(cls, fork_server: ForkServer, receiver: Receiver, directory: Path) -> Self:
        baseline = cls(fork_server, receiver, directory)
        receiver.on("/done", Answer.json({"version": "v1", "context": {"ticket": "INC-1"}}))
        receiver.on("/later", Answer(202))
        receiver.on("/held", Held())
        directory.mkdir(parents=True)
        server = baseline.server(directory)
        assert await server.start(), server.log.read_text()
        async with http_client(server.url) as http:
            form = dict(zip(("client_id", "client_secret"), server.credential, strict=True))
            answer = await http.post("/auth/v1/token", data={"grant_type": "client_credentials", **form})
            baseline.token = answer.json()["access_token"]
            http.headers["Authorization"] = f"Bearer {baseline.token}"
            await baseline._prepare(http)
        assert await server.stop() == 0
        return baseline

    def server(self, directory: Path) -> Server:
        return Server(self.fork_server, directory, [f"127.0.0.1:{self.receiver.port}"])

    async def play(self, directory: Path, *, lease: float = LEASE) -> Play:
        """A new play, on a copy in `directory`. `lease` is in seconds from now."""
        directory.mkdir(parents=True)
        shutil.copytree(self.directory / "data", directory / "data", ignore=shutil.ignore_patterns("reserve"))
        with closing(apsw.Connection(str(directory / "data" / "interlock.db"))) as connection:
            ends = time.time_ns() // 1000 + round(lease * 1_000_000)
            connection.execute("UPDATE leases SET expires_at = ?", (ends,))
        return Play(self, self.server(directory), len(self.receiver.requests), dict(self.runs))

    async def _prepare(self, http: httpx2.AsyncClient) -> None:
        hooks = {}
        for name in ("done", "later", "held"):
            body: dict[str, object] = {"displayName": name, "url": self.receiver.url(f"/{name}")}
            hooks[name] = (await post(http, "/api/v1/webhooks", body))["webhook"]["id"]

        def call(name: str, hook: str) -> dict[str, object]:
            return {
                "stepName": name,
                "webhook": {"webhookId": hooks[hook], "payload": {"for": "{{ ctx.trigger.who }}"}},
            }

        async def automation(name: str, *steps: object) -> str:
            body = {"displayName": name, "enabled": True, "automationSteps": steps}
            self.automations[name] = (await post(http, "/api/v1/automations", body))["automation"]["id"]
            return self.automations[name]

        rest = {"stepName": "rest", "waitForDuration": {"duration": "1209600s"}}
        child = {"automationTemplateRef": {"id": await automation("resting", rest)}, "context": {"context": {"n": 1}}}
        spawn = {"stepName": "spawn", "runAutomation": child}
        evaluate = {"expressions": [{"key": "ticket", "expressionCel": "ctx.first.response.ticket"}]}
        await automation("parent", spawn, rest)
        await automation("held", call("only", "held"))
        await automation(
            "six",
            call("first", "done"),
            {"stepName": "pause", "waitForDuration": {"duration": "0.02s"}},
            {"stepName": "evaluate", "evaluateExpressions": evaluate},
            spawn,
            call("later", "later"),
            call("last", "done"),
        )
        for name, of in (("one", "resting"), ("two", "resting"), ("three", "resting"), ("four", "resting")):
            self.runs[name] = await self._begin(http, of)
        self.runs["parent"] = await self._begin(http, "parent")
        self.runs["leased"] = await self._begin(http, "resting", lease="3600s")
        for run in self.runs.values():
            await until(http, run, "WAITING")

    async def _begin(self, http: httpx2.AsyncClient, name: str, **body: object) -> int:
        return int((await post(http, f"/api/v1/automations/{self.automations[name]}/execute", body))["executionId"])


@dataclass
class Play:
    """One play of the scenario."""

    baseline: Baseline
    server: Server
    seen_before: int
    runs: dict[str, int]
    answers: int = 0
    """How many answers have come in all."""
    told: list[Told] = field(default_factory=list)
    scene: int = 0
    interrupted: bool = False
    """The next scene was begun before, and its progress is unknown."""
    silenced: set[int] = field(default_factory=set)
    """Runs whose stop was acknowledged: the receiver must get no further request of them."""
    kills: list[Kill] = field(default_factory=list)

    @property
    def scenes(self) -> Sequence[Scene]:
        return SCENES

    @property
    def is_over(self) -> bool:
        return self.scene == len(self.scenes)

    def requests(self) -> list[Received]:
        """Return the requests that the receiver got in this play."""
        return self.baseline.receiver.requests[self.seen_before :]

    def client(self) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {self.baseline.token}"}
        return http_client(self.server.url, headers, event_hooks={"response": [self._answered]})

    async def _answered(self, response: httpx2.Response) -> None:
        self.answers += 1

    async def go_on(self) -> bool:
        """Play on; False if the server is gone before the end.

        Raises:
            Refused: it answered, and not with success.
        """
        async with self.client() as http:
            while not self.is_over:
                try:
                    await self.scenes[self.scene](self, http)
                except httpx2.TransportError:
                    self.interrupted = True
                    return False
                except Refused:
                    self.interrupted = True
                    raise
                self.interrupted = False
                self.scene += 1
        return True

    @property
    def facts(self) -> list[Fact]:
        """All that was told."""
        return [told.fact for told in self.told]

    def learn(self, *facts: Fact, changed: bool = False) -> None:
        self.told += [Told(fact, self.answers, changed) for fact in facts]

    # --- the scenes -----------------------------------------------------------------------------------------------

    async def start_six(self, http: httpx2.AsyncClient) -> None:
        await self._start(http, "six")

    async def start_held(self, http: httpx2.AsyncClient) -> None:
        await self._start(http, "held")

    async def _start(self, http: httpx2.AsyncClient, name: str) -> None:
        path, key = f"/api/v1/automations/{self.baseline.automations[name]}/execute", f"key-of-{name}"
        body = {"context": {"context": {"who": name}}}
        run = int((await post(http, path, body, {"Idempotency-Key": key}))["executionId"])
        assert self.runs.setdefault(name, run) == run, "one key, two runs"
        self.learn(started(run, key), changed=True)

    async def wait_for_held(self, http: httpx2.AsyncClient) -> None:
        await self._until_received("held", http)

    async def stop_held(self, http: httpx2.AsyncClient) -> None:
        await self._stop(http, "held", "accepted")

    async def stop_held_again(self, http: httpx2.AsyncClient) -> None:
        await self._stop(http, "held", "repeated", "already-finished")

    async def stop_one(self, http: httpx2.AsyncClient) -> None:
        await self._stop(http, "one", "accepted")

    async def stop_parent(self, http: httpx2.AsyncClient) -> None:
        await self._stop(http, "parent", "accepted", cascade=True)
        children = (await detail(http, self.runs["parent"]))["children"]
        self.learn(*(stopped(int(child["id"]), "stop parent") for child in children))

    async def _stop(self, http: httpx2.AsyncClient, name: str, *verdicts: str, **options: object) -> None:
        run, reason = self.runs[name], f"stop {name}"
        path = f"/api/v1/automation_executions/{run}/actions/terminate"
        answer = await http.post(path, json={"reason": reason, **options})
        if answer.status_code != 200:
            raise Refused(answer)
        verdict, _, state = answer.headers["interlock-termination"].partition("; state=")
        if self.interrupted:
            verdicts = (*verdicts, "repeated", "already-finished")
        assert verdict in verdicts, (name, verdict, verdicts)
        self.learn(in_state(run, "DONE") if state == "DONE" else stopped(run, reason), changed=True)
        self.silenced.add(run)
        if state in OVER:
            self.learn(in_state(run, state))

    async def order_stops(self, http: httpx2.AsyncClient) -> None:
        ids = [str(self.runs[name]) for name in ("two", "three", "four")]
        body = {"executionIds": ids, "reason": "stop many"}
        order = (await post(http, "/interlock/v1/bulkTerminations", body))["bulkTermination"]["id"]
        self.learn(ordered(order), changed=True)

    async def wait_for_callback(self, http: httpx2.AsyncClient) -> None:
        await self._until_received("later", http)

    async def call_back(self, http: httpx2.AsyncClient) -> None:
        request = self._received("later")[-1]
        answer = await http.post(request.headers["webhook-callback-url"], json={"version": "v1", "context": {"a": 1}})
        if answer.status_code == 200:
            self.learn(called_back(self.runs["six"], LATER), changed=True)
        elif not (self.interrupted and answer.status_code == 400):
            raise Refused(answer)

    async def end_six(self, http: httpx2.AsyncClient) -> None:
        await until(http, self.runs["six"], "DONE")
        self.learn(in_state(self.runs["six"], "DONE"))

    async def stop_what_six_started(self, http: httpx2.AsyncClient) -> None:
        await self._stop(http, "six", "already-finished", cascade=True)

    async def end_all(self, http: httpx2.AsyncClient) -> None:
        for name in ("held", "one", "two", "three", "four", "parent", "leased"):
            await until(http, self.runs[name], "TERMINATE")
            self.learn(in_state(self.runs[name], "TERMINATE"))

    def _received(self, path: str) -> list[Received]:
        return [request for request in self.requests() if request.path == f"/{path}"]

    async def _until_received(self, path: str, http: httpx2.AsyncClient) -> None:
        """Wait until the receiver has a request for the path; ask the server meanwhile, to notice its end."""
        async with asyncio.timeout(PATIENCE):
            while not self._received(path):
                await http.get("/healthz")
                await asyncio.sleep(LOOK)

    def execution_of(self, request: Received) -> int:
        """Return the run that a request was made for."""
        return int(request.headers["idempotency-key"].split(":")[1])

    # --- the end --------------------------------------------------------------------------------------------------

    async def receiver_is_quiet(self) -> int:
        """Wait until every connection to the receiver is closed, so that it has read all, and count its requests."""
        receiver = self.baseline.receiver
        async with asyncio.timeout(PATIENCE):
            while not all(connection.is_closed for connection in receiver.connections):
                await asyncio.sleep(LOOK)
        return len(receiver.requests)

    def spoke_after_its_stop(self, since: int, silenced: set[int]) -> list[str]:
        """Check S2: the receiver got no request from `since` on of a run whose stop was acknowledged before."""
        late = [self.execution_of(request) for request in self.baseline.receiver.requests[since:]]
        return [f"S2: {run} called the receiver after its stop" for run in late if run in silenced]


Scene = Callable[[Any, httpx2.AsyncClient], Awaitable[None]]
"""A method of a play: one thing that its clients do."""

SCENES: tuple[Scene, ...] = (
    Play.start_six,
    Play.start_held,
    Play.wait_for_held,
    Play.stop_held,
    Play.stop_held_again,
    Play.stop_one,
    Play.stop_parent,
    Play.order_stops,
    Play.wait_for_callback,
    Play.call_back,
    Play.end_six,
    Play.stop_what_six_started,
    Play.end_all,
)


async def start_many(play: Play, count: int) -> None:
    """Start so many runs beside the scenario, one after the other: it takes some hundred until there is a checkpoint.

    Raises:
        Refused, httpx2.TransportError: one was not started.
    """
    path = f"/api/v1/automations/{play.baseline.automations['resting']}/execute"
    async with play.client() as http:
        for _ in range(count):
            key = f"many-{play.answers}"
            run = int((await post(http, path, {}, {"Idempotency-Key": key}))["executionId"])
            play.learn(started(run, key), changed=True)


async def post(http: httpx2.AsyncClient, path: str, body: object, headers: dict[str, str] | None = None) -> Any:
    answer = await http.post(path, json=body, headers=headers)
    if answer.status_code != 200:
        raise Refused(answer)
    return answer.json()


async def detail(http: httpx2.AsyncClient, run: int) -> Any:
    answer = await http.get(f"/interlock/v1/executions/{run}")
    if answer.status_code != 200:
        raise Refused(answer)
    return answer.json()


async def until(http: httpx2.AsyncClient, run: int, state: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (shown := await detail(http, run))["state"] != state:
            assert shown["state"] not in OVER, f"{run} is {shown['state']}, and not {state}"
            await asyncio.sleep(LOOK)
