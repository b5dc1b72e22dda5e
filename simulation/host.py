"""The simulated machine: its disk and its wall clock, the server on it, its restarts, and their faults."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from interlock.assembly.system import System
from interlock.store.sqlite.connection import integrity_errors, open_reader
from interlock.store.sqlite.disk import DATABASE
from simulation.coverage import Situation
from simulation.disk import Disk, Operation, Strike
from simulation.network import DAY
from simulation.parts import World
from simulation.scenario import MILLISECOND, SECOND, Action, Group, Kind
from simulation.server import Conditions, Server, Wall
from simulation.template import START

LATER: Final = 9 * DAY
"""Longer than any wait and any callback: when the server is started again after that, no run waits any longer."""
_SITUATIONS: Final = {Operation.DATABASE: Situation.CHECKPOINT, Operation.LOG_ANEW: Situation.LOG_ANEW}


class Host:
    """One machine with one server, in a directory of its own. `calm` while it has no faults."""

    def __init__(self, world: World, directory: Path) -> None:
        sabotage = world.sabotage
        self.calm = True
        self.crashes = 0
        self.server: Server | None = None
        self.wall = Wall(world.loop, START)
        self.conditions = Conditions(
            kill_after_commit=self._kill_after_commit, rules=sabotage.rules, kinds=sabotage.kinds
        )
        self._world = world
        self._directory = directory
        self._groups = world.scenario.groups
        self._latest_wall = START
        self._generation = 0
        self._disks: list[Disk] = []
        self._servers: list[Server] = []
        self._strike: tuple[int, str] | None = None
        self._after_commit = world.chance("kill after commit")
        self._restarted: asyncio.Event = asyncio.Event()
        self._gone: asyncio.Event = asyncio.Event()
        self._power_failed = False
        self._failed_at = -1
        """The generation whose disk reported an error last."""

    @property
    def restarts(self) -> int:
        """How often the server was started again, however it ended."""
        return self._generation

    @property
    def place(self) -> Path:
        """The data directory of the process that runs now."""
        return self._directory / str(self._generation)

    @property
    def ailing(self) -> bool:
        """The process is on its way out, and may say so."""
        server = self.server
        return server is None or server.dead or server.fatal is not None or server.stopping

    @property
    def disk_full(self) -> bool:
        return self._disks[-1].full

    @property
    def system(self) -> System:
        assert self.server is not None
        assert self.server.system is not None
        return self.server.system

    def calm_down(self) -> None:
        """Stop the faults of the machine."""
        self.calm = True
        self.conditions.commit_delays = (0,)
        self._disks[-1].full = False
        self._strike = None

    async def up(self, after: Server | None = None) -> None:
        """Return once a server is up, another one than `after`."""
        while True:
            server = self.server
            if server is not None and server is not after and server.serving:
                return
            self._restarted.clear()
            await self._restarted.wait()

    async def much_later(self) -> None:
        """Stop the server in order, and start it again when no run waits any longer."""
        server = self.server
        assert server is not None
        server.stop()
        await self.up(after=server)

    def database_errors(self) -> list[str]:
        """Return what SQLite's own check finds wrong with the database of the process that runs now."""
        with closing(open_reader(str(self.place / DATABASE), vfs=self._disks[-1].name)) as connection:
            return integrity_errors(connection)

    def close(self) -> None:
        for server in self._servers:
            server.bury()
        for disk in self._disks:
            disk.close()

    # --- the process, and who starts it again ---------------------------------------------------------------------

    def _new_disk(self) -> Disk:
        disk = Disk(f"{self._directory.name}-{self._generation}", self._struck, lies=self._world.sabotage.disk_lies)
        self._disks.append(disk)
        return disk

    async def start(self) -> None:
        await self._boot(self._new_disk()).up

    def _boot(self, disk: Disk) -> Server:
        self._world.note(f"process {self._generation} starts")
        server = self.server = Server(
            self._world.loop,
            self._generation,
            self.place,
            disk,
            self.wall,
            self._world.network,
            self._world.chance,
            self.conditions,
            self._world.oracle.follower,
            self._died,
        )
        self._servers.append(server)
        return server

    def _died(self, why: str) -> None:
        self.crashes += 1
        self._world.note(f"process died: {why}")
        self._left()
        self._gone.set()

    def _left(self) -> None:
        """The process is there no longer, however it went."""
        self._world.oracle.process_gone()
        self._world.network.process_died()

    async def supervise(self) -> None:
        """What a service manager does: start it again, however it ended."""
        chance = self._world.chance("supervisor")
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
                self._world.note(f"process ended: {server.ended.result()}")
                # A VFS of ours raises into the closing of a connection what SQLite itself would keep to itself.
                if not isinstance(server.fell_over, apsw.Error | None) and server.fatal is None:
                    self._world.oracle.break_("answers", f"the server fell over: {_told(server.fell_over)}")
                server.gone()
                self._left()
            await self._world.sleep(0 if self.calm else chance.choice((0, 10, 200, 3_000)) * MILLISECOND)
            old, before = self._disks[-1], self.place
            self._generation += 1
            if self._power_failed:
                old.after_power_cut(chance, before, self.place)
            else:
                old.after_kill(before, self.place)
            self._power_failed = False
            if self.calm:
                self.wall.offset = max(self._latest_wall, self.wall.offset) + LATER
                self.wall.starts += 1
            disk = self._new_disk()
            disk.full = old.full
            if Group.KILLS in self._groups and not self.calm and chance.random() < 0.1:
                self._strike = (chance.choice((1, 2, 3, 5, 9)), "kill")
            server = self._boot(disk)
            await asyncio.wait((server.up,))
            if server.dead:
                self._world.saw(Situation.CRASH_IN_RECOVERY)
                continue
            if not server.up.result():
                # A disk that fails while the server starts keeps it from starting, as it must; the next start may do.
                self._world.oracle.require(self._failed_at == self._generation, "L1", "the server does not start again")
                continue
            self._world.oracle.came_up(self.system)
            self._restarted.set()

    # --- faults ---------------------------------------------------------------------------------------------------

    def _struck(self, operation: Operation) -> Strike | None:
        if operation in _SITUATIONS:
            self._world.saw(_SITUATIONS[operation])
        if self._strike is None:
            return None
        left, what = self._strike
        if left > 1:
            self._strike = (left - 1, what)
            return None
        self._strike = None
        self._world.note(f"{what} at a {operation}")
        if what == "error":
            self._failed_at = self._generation
            self._world.saw(Situation.IO_ERROR)
            return Strike.ERROR
        self._kill(f"{what} at a {operation}", power=what == "power")
        in_checkpoint = operation is Operation.DATABASE
        self._world.saw(Situation.CRASH_IN_CHECKPOINT if in_checkpoint else Situation.CRASH_IN_COMMIT)
        return Strike.POWER

    def _kill(self, why: str, *, power: bool = False) -> None:
        server = self.server
        if server is not None and not server.dead:
            self._power_failed = power
            server.kill(why)

    def _kill_after_commit(self) -> bool:
        if Group.KILLS not in self._groups or self.calm or self._after_commit.random() > 0.004:
            return False
        self._world.saw(Situation.CRASH_BETWEEN_COMMIT_AND_ANSWER)
        return True

    async def inject(self, action: Action) -> None:
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
                self._latest_wall = max(self._latest_wall, self.wall.offset)
                self._world.saw(Situation.CLOCK_JUMP)
            case Kind.STALL:
                self._world.oracle.unhealthy()
                self._world.loop.microseconds += options["seconds"] * SECOND
                self._world.saw(Situation.STALL)
            case Kind.FULL:
                await self._full(options["for_"] * SECOND)
            case Kind.SLOW:
                before, self.conditions.commit_delays = self.conditions.commit_delays, (200_000, 1_000_000)
                self._world.oracle.unhealthy()
                await self._world.sleep(options["for_"] * SECOND)
                self._world.oracle.unhealthy()
                self.conditions.commit_delays = before
            case Kind.SECOND_SERVER:
                await self._second(server)
            case _:
                raise AssertionError(action)

    async def _full(self, microseconds: int) -> None:
        self._disks[-1].full = True
        self._world.saw(Situation.DISK_FULL)
        await self._world.sleep(microseconds)
        self._disks[-1].full = False

    async def _second(self, server: Server) -> None:
        """Another server on the same directory must be refused, and harm nothing."""
        if server.dead or not server.up.done() or server.ended.done():
            return
        second = Server(
            self._world.loop,
            1_000 + self._generation,
            server.directory,
            server.disk,
            self.wall,
            self._world.network,
            self._world.chance,
            self.conditions,
            self._world.oracle.follower,
            lambda why: None,
        )
        up = await second.up
        second.dead = True
        if up:
            self._world.oracle.break_("S1", "two servers share a data directory")
        self._world.saw(Situation.SECOND_SERVER)


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)[-3:])
