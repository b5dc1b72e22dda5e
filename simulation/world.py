"""A whole world for one seed: the host, the network, the clients, and the oracle that looks on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import traceback
from collections import Counter
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from simulation.asgi import Answer
from simulation.clients import Clients
from simulation.coverage import Situation
from simulation.host import Host
from simulation.loop import NothingEver, SimulatedLoop
from simulation.network import CALM, ROUGH, Call, Network
from simulation.oracle import Oracle
from simulation.sabotage import NONE, Sabotage
from simulation.scenario import MACHINE, SECOND, Action, Group, Scenario
from simulation.server import Lost, Refused
from simulation.template import template

AFTERMATH: Final = 5 * SECOND
"""For which a server that the last fault has met may still be on its way out."""
SETTLES: Final = 45 * SECOND
"""How long everything is left alone when the last fault is over: more than a call may take."""
LONGEST: Final = 3_600
"""Virtual seconds within which every world has come to its end."""
MOST_WAITS: Final = 8
"""How often that may be needed: a run may wait several times, and what it starts may wait again."""


@dataclass(slots=True)
class Result:
    """What came of one seed."""

    seed: int
    broken: str | None
    digest: str
    """Of everything that happened, in order."""
    situations: Counter[Situation]
    runs: int = 0
    terminations: int = 0
    receipts: int = 0
    crashes: int = 0
    trace: list[str] = field(default_factory=list)


class World:
    """Made for one scenario, run once."""

    def __init__(
        self, scenario: Scenario, directory: Path, *, sabotage: Sabotage = NONE, keep_trace: bool = False
    ) -> None:
        self.scenario = scenario
        self.loop = SimulatedLoop()
        self.sabotage = sabotage
        self.situations: Counter[Situation] = Counter()
        self.host = Host(self, directory)
        self._digest = hashlib.sha256()
        self._trace: list[str] | None = [] if keep_trace else None
        self.oracle = Oracle(self)
        rough = Group.NETWORK in scenario.groups
        self.network = Network(
            self.loop,
            self.chance,
            ROUGH if rough else CALM,
            0.03 if rough else 0.0,
            self.oracle.sent,
            self._call_back,
            self.note,
            sabotage.misreports,
        )
        self._stale: dict[str, Answer] = {}
        self.clients = Clients(self)

    def chance(self, name: str) -> Random:
        """Numbers of its own for each name, so that what is left out changes nothing elsewhere."""
        return Random(f"{self.scenario.seed} {name}")

    def note(self, what: str) -> None:
        line = f"{self.loop.microseconds:>12} {what}"
        self._digest.update(line.encode())
        if self._trace is not None:
            self._trace.append(line)

    def saw(self, situation: Situation) -> None:
        self.situations[situation] += 1

    # --- the whole of it ------------------------------------------------------------------------------------------

    def run(self) -> Result:
        shutil.copytree(template(), self.host.place)
        asyncio.set_event_loop(self.loop)
        self.network.outside = copy_context()
        self.loop.call_later(LONGEST, self.oracle.break_, "L1", "a client waits for ever")
        try:
            self.loop.run_until_complete(self._live())
        except NothingEver:
            self.oracle.break_("L1", "nothing is left to do, and a client waits for ever")
        except Exception:  # noqa: BLE001 - whatever the world stumbles over is a finding, with its seed
            self.oracle.break_("simulator", traceback.format_exc(limit=-4))
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
            self.host.close()
        oracle = self.oracle
        return Result(
            self.scenario.seed,
            oracle.broken,
            self._digest.hexdigest(),
            self.situations,
            oracle.runs,
            oracle.terminations,
            oracle.receipts,
            self.host.crashes,
            self._trace or [],
        )

    async def _live(self) -> None:
        try:
            await self.host.start()
            await self.clients.provide(self.scenario)
            self.host.calm = False
            supervisor = self.loop.create_task(self.host.supervise())
            began = self.loop.microseconds
            actions = [self.loop.create_task(self._act(action, began)) for action in self.scenario.actions]
            try:
                await self._unless_broken(asyncio.gather(*actions))
                await self._unless_broken(self._end())
            finally:
                supervisor.cancel()
                for task in actions:
                    task.cancel()
                await asyncio.gather(supervisor, *actions, return_exceptions=True)
        except Broken:
            pass

    async def _unless_broken(self, work: Any) -> None:
        done = asyncio.ensure_future(work)
        broken = asyncio.ensure_future(self.oracle.stopped.wait())
        await asyncio.wait((done, broken), return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not done.done():
            done.cancel()
            raise Broken
        done.result()
        if self.oracle.broken is not None:
            raise Broken

    async def _end(self) -> None:
        """Faults are over: everything settles, then the time of every remaining wait comes."""
        self.host.calm_down()
        self.network.fates, self.network.deaf = CALM, 0.0
        await self.sleep(AFTERMATH)
        await self.host.up()
        await self.clients.tidy()
        await self.sleep(SETTLES)
        self.oracle.at_rest(self.host.system)
        for _ in range(MOST_WAITS):
            if not self.oracle.active(self.host.system):
                break
            await self.host.much_later()
            await self.clients.tidy()
            await self.sleep(SETTLES)
        system = self.host.system
        await self.oracle.final(system)
        self.note(f"final: {self.oracle.runs} runs, {self.oracle.terminations} terminations")

    async def sleep(self, microseconds: int) -> None:
        await asyncio.sleep(microseconds / 1_000_000)

    async def _act(self, action: Action, began: int) -> None:
        wait = began + action.at - self.loop.microseconds
        await self.sleep(max(0, wait))
        if action.kind in MACHINE:
            self.note(str(action))
            await self.host.inject(action)
        else:
            await self.clients.act(action)

    # --- the way in -----------------------------------------------------------------------------------------------

    async def ask(
        self, method: str, path: str, body: Any = None, *, patience: int | None = None, **given: Any
    ) -> Answer:
        """Ask whatever server is up.

        Raises:
            Refused: none is.
            Lost: it died before it had answered.
        """
        server = self.host.server
        if server is None:
            raise Refused
        if self.sabotage.children_escape and isinstance(body, dict) and path.endswith("/terminate"):
            body = {**body, "cascade": False}
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in given.items() if name != "host"}
        answer = await server.ask(method, path, raw, headers, host=given.get("host", "localhost"), patience=patience)
        self.oracle.answered(method, path, answer)
        return self._falsified(method, path, given.get("host", ""), answer)

    def _falsified(self, method: str, path: str, host: str, answer: Answer) -> Answer:
        """The answer, unless a sabotage lies between server and client."""
        if self.sabotage.tells_tenants_apart and host and "839265" not in path:
            return replace(answer, body=b'{"code":5,"message":"not yours","details":[]}')
        if self.sabotage.reads_late and method == "GET" and answer.status == 200 and not self.host.calm:
            before, self._stale[path] = self._stale.get(path, answer), answer
            return before
        return answer

    async def _call_back(self, url: str, body: bytes) -> int | None:
        try:
            answer = await self.ask("POST", url.removeprefix("https://interlock.example"), body)
        except Refused:
            return None
        except Lost:
            return 0
        return answer.status

    def calls(self) -> list[Call]:
        return [call for calls in self.network.calls.values() for call in calls]


class Broken(Exception):
    """A property does not hold: there is no point in going on."""
