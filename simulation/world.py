"""A whole world for one seed: the machine, its server and who restarts it, the clients, the oracle that looks on."""

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

import apsw

from interlock.assembly import System
from simulation.clients import Clients
from simulation.coverage import Situation
from simulation.disk import Disk, Strike
from simulation.loop import NothingEver, SimulatedLoop
from simulation.network import CALM, DAY, ROUGH, Call, Network
from simulation.oracle import Oracle
from simulation.sabotage import NONE, Sabotage
from simulation.scenario import MACHINE, MILLISECOND, SECOND, Action, Group, Kind, Scenario
from simulation.server import Answer, Conditions, Lost, Server, Wall
from simulation.template import START, template

SETTLES: Final = 45 * SECOND
"""How long everything is left alone when the last fault is over: more than a call may take."""
LATER: Final = 9 * DAY
"""Longer than any wait and any callback: when the server is started again after that, nobody waits any longer."""
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
        self.crashes = 0
        self.server: Server | None = None
        self.wall = Wall(self.loop, START)
        self.latest_wall = START
        self._directory = directory
        self._digest = hashlib.sha256()
        self._trace: list[str] | None = [] if keep_trace else None
        self._groups = scenario.groups
        self._generation = 0
        self._disks: list[Disk] = []
        self._servers: list[Server] = []
        self._strike: tuple[int, str] | None = None
        self._calm = True
        self.conditions = Conditions(kill_after_commit=self._kill_after_commit, rules=sabotage.rules)
        self._after_commit = self.chance("kill after commit")
        self.oracle = Oracle(self)
        rough = Group.NETWORK in self._groups
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
        self._restarted: asyncio.Event = asyncio.Event()
        self._gone: asyncio.Event = asyncio.Event()
        self._power_failed = False
        self._failed_at = -1
        """The generation whose disk reported an error last."""

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
        shutil.copytree(template(), self._place())
        asyncio.set_event_loop(self.loop)
        self.network.outside = copy_context()
        self.loop.call_later(LONGEST, self.oracle.break_, "L1", "somebody waits for ever")
        try:
            self.loop.run_until_complete(self._live())
        except NothingEver:
            self.oracle.break_("L1", "nothing is left to do, and somebody waits for ever")
        except Exception:  # noqa: BLE001 - whatever the world stumbles over is a finding, with its seed
            self.oracle.break_("simulator", traceback.format_exc(limit=-4))
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
            for server in self._servers:
                server.bury()
            for disk in self._disks:
                disk.close()
        oracle = self.oracle
        return Result(
            self.scenario.seed,
            oracle.broken,
            self._digest.hexdigest(),
            self.situations,
            oracle.runs,
            oracle.terminations,
            oracle.receipts,
            self.crashes,
            self._trace or [],
        )

    async def _live(self) -> None:
        try:
            await self._start()
            await self.clients.provide(self.scenario)
            self._calm = False
            supervisor = self.loop.create_task(self._supervise())
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
        """Faults are over: everything settles, then the time comes for whoever still waits."""
        self._calm = True
        self.network.fates, self.network.deaf = CALM, 0.0
        self.conditions.commit_delays = (0,)
        self._disks[-1].full = False
        self._strike = None
        await self.up()
        await self.clients.tidy()
        await self.sleep(SETTLES)
        self.oracle.at_rest(self._system())
        for _ in range(MOST_WAITS):
            if not self.oracle.active(self._system()):
                break
            server = self.server
            assert server is not None
            server.stop()
            await self.up(after=server)
            await self.clients.tidy()
            await self.sleep(SETTLES)
        system = self._system()
        await self.oracle.final(system)
        self.note(f"final: {self.oracle.runs} runs, {self.oracle.terminations} terminations")

    @property
    def server_ailing(self) -> bool:
        """The process is on its way out, and may say so."""
        server = self.server
        return server is None or server.dead or server.fatal is not None or server.stopping

    @property
    def disk_full(self) -> bool:
        return self._disks[-1].full

    def _system(self) -> System:
        assert self.server is not None
        assert self.server.system is not None
        return self.server.system

    async def sleep(self, microseconds: int) -> None:
        await asyncio.sleep(microseconds / 1_000_000)

    async def up(self, after: Server | None = None) -> None:
        """Return once a server is up, another one than `after`."""
        while True:
            server = self.server
            if server is not None and server is not after and server.serving:
                return
            self._restarted.clear()
            await self._restarted.wait()

    # --- the process, and who starts it again ---------------------------------------------------------------------

    def _new_disk(self) -> Disk:
        disk = Disk(f"{self._directory.name}-{self._generation}", self._struck, lies=self.sabotage.disk_lies)
        self._disks.append(disk)
        return disk

    async def _start(self) -> None:
        await self._boot(self._new_disk()).up

    def _place(self) -> Path:
        return self._directory / str(self._generation)

    def _boot(self, disk: Disk) -> Server:
        self.note(f"process {self._generation} starts")
        server = self.server = Server(
            self.loop,
            self._generation,
            self._place(),
            disk,
            self.wall,
            self.network,
            self.chance,
            self.conditions,
            self.oracle.follower,
            self._died,
        )
        self._servers.append(server)
        return server

    def _died(self, why: str) -> None:
        self.crashes += 1
        self.note(f"process died: {why}")
        self.oracle.process_gone()
        self.network.process_died()
        self._gone.set()

    async def _supervise(self) -> None:
        """What a service manager does: start it again, however it ended."""
        chance = self.chance("supervisor")
        while True:
            server = self.server
            assert server is not None
            self._gone.clear()
            if not server.dead:
                gone = asyncio.ensure_future(self._gone.wait())
                ended = asyncio.ensure_future(asyncio.wait((server.ended,)))
                await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                ended.cancel()
            if not server.dead:
                self.note(f"process ended: {server.ended.result()}")
                # A VFS of ours raises into the closing of a connection what SQLite itself would keep to itself.
                if not isinstance(server.fell_over, apsw.Error | None) and server.fatal is None:
                    self.oracle.break_("answers", f"the server fell over: {_told(server.fell_over)}")
                server.gone()
                self.oracle.process_gone()
                self.network.process_died()
            await self.sleep(0 if self._calm else chance.choice((0, 10, 200, 3_000)) * MILLISECOND)
            old, before = self._disks[-1], self._place()
            self._generation += 1
            if self._power_failed:
                old.after_power_cut(chance, before, self._place())
            else:
                old.after_kill(before, self._place())
            self._power_failed = False
            if self._calm:
                self.wall.offset = max(self.latest_wall, self.wall.offset) + LATER
            disk = self._new_disk()
            disk.full = old.full
            if Group.KILLS in self._groups and not self._calm and chance.random() < 0.1:
                self._strike = (chance.choice((1, 2, 3, 5, 9)), "kill")
            server = self._boot(disk)
            await asyncio.wait((server.up,))
            if server.dead:
                self.saw(Situation.CRASH_IN_RECOVERY)
                continue
            if not server.up.result():
                # A disk that fails while the server starts keeps it from starting, as it must; the next start may do.
                self.oracle.require(self._failed_at == self._generation, "L1", "the server does not start again")
                continue
            self.oracle.came_up(self._system())
            self._restarted.set()

    # --- faults ---------------------------------------------------------------------------------------------------

    def _struck(self, operation: str) -> Strike | None:
        if self._strike is None:
            return None
        left, what = self._strike
        if left > 1:
            self._strike = (left - 1, what)
            return None
        self._strike = None
        self.note(f"{what} at a {operation}")
        if what == "error":
            self._failed_at = self._generation
            self.saw(Situation.IO_ERROR)
            return Strike.ERROR
        self._kill(f"{what} at a {operation}", power=what == "power")
        self.saw(Situation.CRASH_IN_COMMIT)
        return Strike.POWER

    def _kill(self, why: str, *, power: bool = False) -> None:
        server = self.server
        if server is not None and not server.dead:
            self._power_failed = power
            server.kill(why)

    def _kill_after_commit(self) -> bool:
        if Group.KILLS not in self._groups or self._calm or self._after_commit.random() > 0.004:
            return False
        self.saw(Situation.CRASH_BETWEEN_COMMIT_AND_ANSWER)
        return True

    async def _act(self, action: Action, began: int) -> None:
        wait = began + action.at - self.loop.microseconds
        await self.sleep(max(0, wait))
        if action.kind in MACHINE:
            self.note(str(action))
            await self._befall(action)
        else:
            await self.clients.act(action)

    async def _befall(self, action: Action) -> None:
        server, options = self.server, action.options
        if server is None:
            return
        match action.kind:
            case Kind.KILL:
                self._kill("kill -9")
            case Kind.POWER_CUT:
                self._kill("power cut", power=True)
            case Kind.STRIKE:
                self._strike = (options["after"], options["what"])
            case Kind.ORDERLY:
                server.stop()
            case Kind.JUMP:
                self.wall.offset += options["seconds"] * SECOND
                self.latest_wall = max(self.latest_wall, self.wall.offset)
                self.saw(Situation.CLOCK_JUMP)
            case Kind.STALL:
                self.oracle.unhealthy()
                self.loop.microseconds += options["seconds"] * SECOND
                self.saw(Situation.STALL)
            case Kind.FULL:
                await self._full(options["for_"] * SECOND)
            case Kind.SLOW:
                before, self.conditions.commit_delays = self.conditions.commit_delays, (200_000, 1_000_000)
                self.oracle.unhealthy()
                await self.sleep(options["for_"] * SECOND)
                self.oracle.unhealthy()
                self.conditions.commit_delays = before
            case Kind.SECOND_SERVER:
                await self._second(server)
            case _:
                raise AssertionError(action)

    async def _full(self, microseconds: int) -> None:
        self._disks[-1].full = True
        self.saw(Situation.DISK_FULL)
        await self.sleep(microseconds)
        self._disks[-1].full = False

    async def _second(self, server: Server) -> None:
        """Another server on the same directory must be refused, and harm nothing."""
        if server.dead or not server.up.done() or server.ended.done():
            return
        second = Server(
            self.loop,
            1_000 + self._generation,
            server.directory,
            server.disk,
            self.wall,
            self.network,
            self.chance,
            self.conditions,
            self.oracle.follower,
            lambda why: None,
        )
        up = await second.up
        second.dead = True
        if up:
            self.oracle.break_("S1", "two servers share a data directory")
        self.saw(Situation.SECOND_SERVER)

    # --- the way in -----------------------------------------------------------------------------------------------

    async def ask(
        self, method: str, path: str, body: Any = None, *, patience: int | None = None, **given: Any
    ) -> Answer:
        """Ask whatever server is up.

        Raises:
            Lost: none is, or it died before it had answered.
        """
        server = self.server
        if server is None:
            raise Lost
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
        if self.sabotage.reads_late and method == "GET" and answer.status == 200 and not self._calm:
            before, self._stale[path] = self._stale.get(path, answer), answer
            return before
        return answer

    async def _call_back(self, url: str, body: bytes) -> int:
        try:
            answer = await self.ask("POST", url.removeprefix("https://interlock.example"), body)
        except Lost:
            return 0
        self.oracle.called_back(url, answer.status)
        return answer.status

    def calls(self) -> list[Call]:
        return [call for calls in self.network.calls.values() for call in calls]


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)[-3:])


class Broken(Exception):
    """A property does not hold: there is no point in going on."""
