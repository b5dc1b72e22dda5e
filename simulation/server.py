"""One process of the server on the simulated platform: started, asked, stopped in order, or killed at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from interlock.assembly.assemble import assembled
from interlock.assembly.system import Platform, System
from interlock.errors import Fatal, InterlockError
from interlock.expressions.evaluate import LocalEvaluator
from interlock.ports import ChangeListener, Http, Ids
from interlock.rules.decide import decide
from interlock.secrets.vault import KEY_BYTES, AesVault
from interlock.settings import Settings
from interlock.steps.kind import StepKind
from interlock.store.marks import FileMarks
from interlock.store.sqlite.executions import Rules
from interlock.store.sqlite.store import SqliteStore
from interlock.system import SystemIds
from simulation import recipients
from simulation.asgi import Answer, Caller, scope_of
from simulation.disk import ROOM, Disk
from simulation.loop import PROCESS, SimulatedLoop
from simulation.network import Network

T = TypeVar("T")
SECOND: Final = 1_000_000
HOST: Final = "localhost"
GRACE: Final = 2.0
"""Seconds in which work in progress may finish at an orderly stop."""
CHECKPOINT_PAGES: Final = 200
"""Pages in the log that make a checkpoint due: few, because a life is short."""
PUBLIC_URL: Final = "https://interlock.example"


class Lost(Exception):
    """No answer came, or not the whole of it: what was asked for may have happened, or may not."""


class Refused(Lost):
    """No server was there: the request had no effect."""


class Wall:
    """The wall clock of the platform: it may jump."""

    def __init__(self, loop: SimulatedLoop, start: int) -> None:
        self._loop = loop
        self.offset = start
        self.starts = 0
        """How often the machine was started again, which uptime does not count across."""

    def now(self) -> int:
        return self.offset + self._loop.microseconds


class ProcessClock:
    """`ports.Clock` of one process: anchored to the wall once, and from then on it only counts."""

    def __init__(self, loop: SimulatedLoop, wall: Wall) -> None:
        self._loop = loop
        self._wall = wall
        self._anchor = wall.offset

    def now(self) -> int:
        return self._anchor + self._loop.microseconds

    def wall(self) -> int:
        return self._wall.now()

    def move(self, by: int) -> None:
        self._anchor += by

    def boot(self) -> str:
        return f"start {self._wall.starts}"

    def uptime(self) -> int:
        return self._loop.microseconds

    async def sleep_until(self, at: int) -> None:
        if at <= self.now():
            return
        future: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_at((at - self._anchor) / 1_000_000, future.set_result, None)
        try:
            await future
        finally:
            timer.cancel()


def _vault(directory: Path, ids: Ids) -> AesVault:
    return AesVault([bytes(range(KEY_BYTES))], ids)


class SeededIds:
    """`ports.Ids`: those of executions as in earnest, the others from a seed."""

    def __init__(self, clock: ProcessClock, greatest: int, chance: Random) -> None:
        self._executions = SystemIds(clock, greatest)
        self._clock = clock
        self._chance = chance
        self._count = 0

    def execution(self) -> int:
        return self._executions.execution()

    def text(self) -> str:
        self._count += 1
        return f"{self._clock.now():016d}{self._count:05d}{self._chance.randrange(10**6):06d}"

    def secret(self) -> str:
        return f"{self._chance.getrandbits(140):043d}"[-43:]


@dataclass(slots=True)
class Conditions:
    """How the machine is at the moment; the simulation changes it."""

    commit_delays: tuple[int, ...] = (0, 0, 0, 200, 1_000)
    """Microseconds that a commit takes, one of these."""
    kill_after_commit: Callable[[], bool] = lambda: False
    rules: Rules = decide
    kinds: Callable[[Http], Sequence[StepKind]] = recipients.kinds
    """Of steps, beside those of the release."""


class SlowDisk:
    """`Offload` of the store: its work takes its time, and the process may be killed between the work and its news.

    Args:
        killed: asked when the work is done; True if the process has been killed now.
    """

    def __init__(
        self, loop: SimulatedLoop, chance: Random, conditions: Conditions, killed: Callable[[], bool] = lambda: False
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._conditions = conditions
        self._killed = killed
        self._next: asyncio.TimerHandle | None = None

    def run(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        before = self._chance.choice(self._conditions.commit_delays)

        def finish() -> None:
            outcome = work()
            if self._killed():
                return
            after = self._chance.choice((0, 0, 0, 100))
            self._loop.call_later(after / 1_000_000, then, outcome)

        self._next = self._loop.call_later(before / 1_000_000, finish)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()


class Server:
    """A process. `dead` from the moment it is killed: nothing of it runs after that."""

    def __init__(
        self,
        loop: SimulatedLoop,
        number: int,
        directory: Path,
        disk: Disk,
        wall: Wall,
        network: Network,
        chance: Callable[[str], Random],
        conditions: Conditions,
        follower: Callable[[System], ChangeListener],
        died: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.number = number
        self.directory = directory
        self.disk = disk
        self.dead = False
        self.system: System | None = None
        self.ended: asyncio.Future[str] = loop.create_future()
        """Done when it has stopped in order, or could not start."""
        self.up: asyncio.Future[bool] = loop.create_future()
        self.fatal: Fatal | None = None
        self.fell_over: Exception | None = None
        self.open: dict[asyncio.Future[Answer], None] = {}
        self._wall = wall
        self._network = network
        self._chance = chance
        self._conditions = conditions
        self._follower = follower
        self._died = died
        self._opened: SqliteStore | None = None
        self._marks: FileMarks | None = None
        self._closed = False
        self._port_closed = False
        self._stop: asyncio.Event = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """In their order, which that of a set would not be from one life to the next."""
        self._context = copy_context()
        self._context.run(PROCESS.set, self)
        self._task = loop.create_task(self._serve(), context=self._context)

    @property
    def serving(self) -> bool:
        """Whether the port is open: until all work in progress at an orderly stop has ended."""
        return not self.dead and self.system is not None and not self._port_closed

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """SIGTERM."""
        if self.system is not None:
            self.system.begin_shutdown()
        self._stop.set()

    def kill(self, why: str) -> None:
        """kill -9."""
        if self.dead:
            return
        self.gone()
        self._died(why)
        for future in (self.up, self.ended):
            if not future.done():
                future.cancel()

    def gone(self) -> None:
        """Nothing of it runs any more, and the machine closes its connections and files."""
        self.dead = True
        if self._marks is not None:
            self._marks.abandon()
        for answer in list(self.open):
            if not answer.done():
                answer.set_exception(Lost())

    def bury(self) -> None:
        """Give back what the machine would have taken back at its death."""
        if self._opened is not None and not self._closed:
            self._opened.abandon()
        if self._marks is not None:
            self._marks.abandon()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        host: str = HOST,
        patience: int | None = None,
    ) -> Answer:
        """Send a request, and wait for the whole answer for up to `patience` microseconds.

        Raises:
            Refused: No server is there.
            Lost: none came.
        """
        if self.system is None or not self.serving:
            raise Refused
        scope = scope_of(method, path, body, {"host": host, **headers})
        context = self._context.copy()
        answer: asyncio.Future[Answer] = self.loop.create_future()
        caller = Caller([body], context.run(asyncio.Event))
        self.open[answer] = None
        task = self.loop.create_task(self._answer(scope, caller, answer), context=context)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        try:
            async with asyncio.timeout(None if patience is None else patience / 1_000_000):
                return await answer
        except TimeoutError:
            caller.gone.set()
            raise Lost from None
        finally:
            self.open.pop(answer, None)

    async def _answer(self, scope: dict[str, Any], caller: Caller, answer: asyncio.Future[Answer]) -> None:
        assert self.system is not None
        await self.system.api(scope, caller.receive, caller.send)
        if answer.done():
            return
        if not caller.sent:
            answer.set_exception(Lost())
            return
        answer.set_result(caller.answer)

    async def _serve(self) -> None:
        clock = ProcessClock(self.loop, self._wall)
        chance = self._chance(f"process {self.number}")

        def ids(greatest: int) -> SeededIds:
            return SeededIds(clock, greatest, chance)

        platform = Platform(
            clock,
            _Chance(chance),
            ids,
            self._store,
            self._network,
            LocalEvaluator,
            self._mark,
            _vault,
            self._conditions.kinds,
        )
        try:
            async with assembled(
                Settings(data_dir=self.directory, grace=GRACE), HOST, platform=platform, on_fatal=self._fatal
            ) as system:
                system.reached_at(PUBLIC_URL)
                system.store.follow(self._follower(system))
                self.system = system
                self.up.set_result(True)
                await self._stop.wait()
                # As `serve` does: terminations and reads are served while attempts in flight end.
                if self.fatal is None:
                    await system.drain()
                self._port_closed = True
                # What was asked is answered, if that does not take too long.
                if self._tasks:
                    await asyncio.wait(list(self._tasks), timeout=GRACE + 1)
                for task in list(self._tasks):
                    task.cancel()
        except InterlockError as error:
            self._end(error.message)
            return
        except Exception as error:  # noqa: BLE001 - as the interpreter does: the process ends, and says why
            self.fell_over = error
            self._end(f"fell over: {error!r}")
            return
        self._end("stopped in order")

    def _end(self, how: str) -> None:
        self._closed = True
        if not self.up.done():
            self.up.set_result(False)
        if not self.ended.done():
            self.ended.set_result(how)

    def _mark(self, path: Path) -> FileMarks:
        self._marks = FileMarks(path)
        return self._marks

    def _store(self, directory: Path, fail: Callable[[Fatal], None]) -> SqliteStore:
        commits = self._chance(f"commits of process {self.number}")
        checkpoints = self._chance(f"checkpoints of process {self.number}")
        self._opened = SqliteStore(
            directory,
            on_fatal=fail,
            vfs=self.disk.name,
            offload=SlowDisk(self.loop, commits, self._conditions, self._killed_after_commit),
            checkpoint_offload=SlowDisk(self.loop, checkpoints, self._conditions),
            checkpoint_pages=CHECKPOINT_PAGES,
            free=self.disk.free,
            room=ROOM,
            allocate=self.disk.allocate,
            rules=self._conditions.rules,
        )
        return self._opened

    def _killed_after_commit(self) -> bool:
        if self._conditions.kill_after_commit():
            self.kill("after a commit, before its answer")
            return True
        return False

    def _fatal(self, error: Fatal) -> None:
        if self.fatal is None and not self.dead:
            self.fatal = error
            # As `serve` does: an orderly end if that is quick, and the end after two seconds in any case.
            self.stop()
            self.loop.call_later(2.0, self.kill, f"fatal: {error.message}")


class _Chance:
    """`ports.Randomness` from a seed."""

    def __init__(self, chance: Random) -> None:
        self._random = chance

    def chance(self) -> float:
        return self._random.random()
