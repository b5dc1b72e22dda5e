"""The evaluator of a server: supervised processes that evaluate what CEL has to evaluate.

Jobs of one turn of the event loop go together, in one frame for each process that is free. A process that dies costs a
retry on another one: the jobs of its frame are tried again one by one, and an expression fails only if it alone used up
its budget, or ended MAX_KILLS processes. One process more than may work at once is kept, so that a spare takes over
immediately; a process is a fresh interpreter and not a fork of the server, and gets what the expression reads and
nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from interlock.errors import InterlockError, Unavailable
from interlock.expressions.context import Context
from interlock.expressions.evaluate import EvaluationStopped, Evaluator, Stopped, never
from interlock.expressions.failures import FunctionFailed, Unusable
from interlock.expressions.functions import asking
from interlock.expressions.limits import (
    EVALUATION_WALL_SECONDS,
    EVALUATOR_RESTART_SECONDS,
    EVALUATOR_START_SECONDS,
    EVALUATORS,
    MAX_BATCH_BYTES,
    MAX_BATCH_JOBS,
    MAX_KILLS,
    MAX_TRIES,
)
from interlock.expressions.script import Failure, Outcome, Script
from interlock.expressions.worker import HEADER

_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from interlock.expressions.worker import main; main()"
_GRACE_SECONDS: Final = 0.005
_OVERRUN: Final = Failure(0, "it used more time than an expression may", over_budget=True)
_KILLER: Final = Failure(
    0, f"it ended the process that evaluated it {MAX_KILLS} times, or needs too much memory", over_budget=True
)


class Job:
    """A script over a context, and who waits for its outcomes."""

    __slots__ = ("alone", "body", "context", "failure", "kills", "result", "single", "stopped", "tries")

    def __init__(self, script: Script, context: Context, body: bytes, stopped: Stopped) -> None:
        self.single = script.single is not None
        self.context = context
        self.body = body
        self.stopped = stopped
        self.result: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
        self.alone = False
        """A process ended with it: from then on it is sent alone, and the process says that it began."""
        self.kills = 0
        """Processes that ended while they worked on it alone."""
        self.tries = 0
        self.failure: InterlockError | None = None
        """What the directory raised."""

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        if self.result.done():
            return
        if self.failure is not None:
            self.result.set_exception(self.failure)
        else:
            self.result.set_result(outcomes)

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    def wanted(self) -> bool:
        """Whether to evaluate it; if what asked for it is stopped, it is told so."""
        if self.result.done():
            return False
        if self.stopped():
            self.result.set_exception(EvaluationStopped())
            return False
        return True

    def answer(self, method: str, arguments: Sequence[object]) -> Mapping[str, object]:
        """The directory is asked here, where it is; the process gets the answer."""
        ask = asking(self.context.directory)
        if ask is not None:
            try:
                return {"answer": ask(method, tuple(arguments))}
            except FunctionFailed:
                pass
            except InterlockError as failure:
                self.failure = failure
        return {}


class EvaluatorPool(Evaluator):
    """Evaluates in `workers` processes at once, and keeps one more. `aclose` ends them."""

    def __init__(self, *, workers: int = EVALUATORS) -> None:
        self._workers = workers
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._leaving: set[Child] = set()
        """Replaced, and not ended yet."""
        self._starting: set[asyncio.Task[None]] = set()
        self._urgent: deque[Job] = deque()
        self._queue: deque[Job] = deque()
        self._kicked = False
        self._restart: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def children(self) -> tuple[Child, ...]:
        """The processes that are ready or at work."""
        return tuple(self._children)

    @property
    def busy(self) -> int:
        """How many of them are at work."""
        return len(self._children) - len(self._idle)

    def start(self) -> None:
        self._fill()

    async def ready(self) -> None:
        """Wait for the first process; the others follow. Raises Unavailable."""
        self._fill()
        while not self._children:
            if not self._starting:
                raise Unavailable("no process for expressions could be started")
            await asyncio.wait(self._starting, return_when=asyncio.FIRST_COMPLETED)

    async def run(
        self, script: Script, context: Context, stopped: Stopped = never, *, urgent: bool = False
    ) -> Sequence[Outcome]:
        if self._closed:
            raise Unavailable("the server is stopping")
        if stopped():
            raise EvaluationStopped
        try:
            body = _body(script, context)
        except Unusable as error:
            # Together they may read too much where each alone does not: then each is asked for alone.
            return [Failure(0, error.reason, over_budget=error.over_budget)] if script.single is not None else []
        job = Job(script, context, body, stopped)
        (self._urgent if urgent else self._queue).append(job)
        self._kick()
        return await job.result

    async def aclose(self) -> None:
        """End the processes: at once those that work, by closing their pipes those that are idle."""
        self._closed = True
        if self._restart is not None:
            self._restart.cancel()
        for job in (*self._urgent, *self._queue):
            job.fail(Unavailable("the server is stopping"))
        self._urgent.clear()
        self._queue.clear()
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        children, idle = [*self._children, *self._leaving], set(self._idle)
        for child in children:
            if child in idle:
                child.finish()
            else:
                child.kill()
        for child in children:
            await child.ended()

    # --- jobs -----------------------------------------------------------------------------------------------------

    def _kick(self) -> None:
        """Send what waits when this turn of the loop is over, so that all that it asks for goes together."""
        if not self._kicked:
            self._kicked = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._kicked = False
        if self._closed:
            return
        for queue in (self._urgent, self._queue):
            if queue:
                wanted = [job for job in queue if job.wanted()]
                queue.clear()
                queue.extend(wanted)
        self._fill()
        while self._idle and self.busy < self._workers and (jobs := self._batch()):
            self._idle.pop().work_on(jobs)

    def _batch(self) -> list[Job]:
        queue = self._urgent or self._queue
        free = max(1, min(len(self._idle), self._workers - self.busy))
        most = min(MAX_BATCH_JOBS, -(-len(queue) // free))
        jobs: list[Job] = []
        size = 0
        while queue and len(jobs) < most and size < MAX_BATCH_BYTES and not (jobs and queue[0].alone):
            job = queue.popleft()
            jobs.append(job)
            size += len(job.body)
            if job.alone:
                break
        return jobs

    def _again(self, jobs: Sequence[Job]) -> None:
        """Put jobs back to the front of the queue."""
        self._queue.extendleft(reversed([job for job in jobs if job.wanted()]))

    # --- processes ------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start what is missing."""
        if self._closed or self._restart is not None:
            return
        while len(self._children) + len(self._starting) < self._workers + 1:
            task = asyncio.get_running_loop().create_task(self._start(), name="evaluator")
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        child = Child(self)
        try:
            await child.start()
        except Unavailable as error:
            child.kill()
            if self._restart is None:
                loop = asyncio.get_running_loop()
                self._restart = loop.call_later(EVALUATOR_RESTART_SECONDS, self._start_again)
            if not self._children and len(self._starting) <= 1:
                for job in (*self._urgent, *self._queue):
                    job.fail(Unavailable(error.message))
            return
        except BaseException:
            child.kill()
            await child.ended()
            raise
        self._children.add(child)
        self._idle.append(child)
        self._kick()

    def _start_again(self) -> None:
        self._restart = None
        self._fill()

    def finished(self, child: Child, undone: Sequence[Job], retire: bool) -> None:
        """A process has worked off its frame, except for `undone`."""
        if retire:
            self._children.discard(child)
            self._leaving.add(child)
            child.finish()
        elif not self._closed:
            self._idle.append(child)
        self._again(undone)
        self._kick()

    def lost(self, child: Child, undone: Sequence[Job], *, begun: bool, overran: bool) -> None:
        """A process has ended, whatever the reason, before it answered `undone`.

        Args:
            begun: it said that it began the one job it was given alone.
            overran: the job used up its budget.
        """
        self._children.discard(child)
        self._leaving.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        if self._closed:
            for job in undone:
                job.fail(Unavailable("the server is stopping"))
            return
        for job in undone:
            self._retry(job, begun, overran)
        self._again(undone)
        self._fill()
        self._kick()

    def _retry(self, job: Job, begun: bool, overran: bool) -> None:
        """Judge a job whose process has ended; if it is not settled, it is tried again."""
        job.tries += 1
        job.kills += begun
        if begun and not job.single:
            # Which of its expressions it was is not known: they are asked for one by one.
            job.settle([])
        elif begun and overran:
            job.settle([_OVERRUN])
        elif job.kills >= MAX_KILLS:
            job.settle([_KILLER])
        elif job.tries > MAX_TRIES:
            job.fail(Unavailable("no process for expressions stays alive"))
        job.alone = True


def _body(script: Script, context: Context) -> bytes:
    directory = "false" if context.directory is None else "true"
    return f'{{"script":{script.text},"context":{context.packed(script.inputs)},"directory":{directory}}}'.encode()


class Child(asyncio.SubprocessProtocol):
    """One evaluator process and the frame that it works on."""

    def __init__(self, pool: EvaluatorPool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.SubprocessTransport | None = None
        self._pipe: Any = None
        self._received = bytearray()
        self._jobs: list[Job] = []
        self._answered = 0
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._output_closed = False
        self._begun = False
        self._hung = False

    @property
    def pid(self) -> int:
        """Its process id, 0 before it has one."""
        return self._transport.get_pid() or 0 if self._transport is not None else 0

    @property
    def at_work(self) -> bool:
        """Whether it has jobs to do."""
        return bool(self._jobs)

    async def start(self) -> None:
        """Raises Unavailable."""
        # Without the environment of the server, which may hold secrets; zone files may lie elsewhere, though.
        kept = {name: os.environ[name] for name in ("TZDIR", "PYTHONTZPATH", "LD_LIBRARY_PATH") if name in os.environ}
        try:
            transport, _ = await self._loop.subprocess_exec(
                lambda: self,
                sys.executable,
                "-I",
                "-c",
                _START,
                *filter(None, sys.path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=kept,
            )
        except OSError as error:
            raise Unavailable("no process for expressions could be started") from error
        self._transport = transport
        self._pipe = transport.get_pipe_transport(0)
        timer = self._loop.call_later(EVALUATOR_START_SECONDS, self.kill)
        try:
            if not await self._ready:
                raise Unavailable("a process for expressions did not start")
        finally:
            timer.cancel()

    def work_on(self, jobs: list[Job]) -> None:
        """Send jobs; the pool is told of what becomes of them."""
        self._jobs = jobs
        self._answered = 0
        self._begun = False
        end = b'],"alone":true}' if jobs[0].alone else b"]}"
        self._write(b"".join((b'{"jobs":[', b",".join([job.body for job in jobs]), end)))
        self._timer = self._loop.call_later(EVALUATION_WALL_SECONDS, self._overrun, True)

    def kill(self) -> None:
        """End it now."""
        if self._transport is not None:
            try:
                self._transport.kill()
            except ProcessLookupError:
                pass

    def finish(self) -> None:
        """Let it end: it stops when its pipe closes."""
        if self._pipe is not None:
            self._pipe.close()

    async def ended(self) -> None:
        """Wait until it has ended, killing it if it takes too long."""
        timer = self._loop.call_later(EVALUATION_WALL_SECONDS, self.kill)
        try:
            if self._transport is not None:
                await asyncio.shield(self._exited)
                self._transport.close()
        finally:
            timer.cancel()

    def _overrun(self, again: bool) -> None:
        # An answer may lie in the pipe, unread because the loop was busy: look once more before judging.
        if again:
            self._timer = self._loop.call_later(_GRACE_SECONDS, self._overrun, False)
        else:
            self._hung = True
            self.kill()

    def _write(self, body: bytes) -> None:
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.write(HEADER.pack(len(body)) + body)

    # --- what the loop tells ----------------------------------------------------------------------------------------

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= HEADER.size:
            (size,) = HEADER.unpack_from(received)
            if len(received) < HEADER.size + size:
                return
            message = json.loads(bytes(received[HEADER.size : HEADER.size + size]))
            del received[: HEADER.size + size]
            self._told(message)

    def _told(self, message: Mapping[str, Any]) -> None:
        if "answers" in message:
            for outcomes in message["answers"]:
                job = self._jobs[self._answered]
                self._answered += 1
                job.settle([Failure(**one) if isinstance(one, dict) else one for one in outcomes])
            if "end" in message:
                if self._timer is not None:
                    self._timer.cancel()
                undone, self._jobs = self._jobs[self._answered :], []
                self._pool.finished(self, undone, message["retire"])
        elif "ask" in message:
            answer = self._jobs[message["job"]].answer(message["ask"], message["arguments"])
            self._write(json.dumps(answer, separators=(",", ":")).encode())
        elif "begun" in message:
            self._begun = True
        elif not self._ready.done():
            self._ready.set_result(True)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._output_closed = True
            self._gone()

    def process_exited(self) -> None:
        if not self._exited.done():
            self._exited.set_result(None)
        self._gone()

    def _gone(self) -> None:
        """It has ended, and all that it answered before is read."""
        if not self._output_closed or not self._exited.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._ready.done():
            self._ready.set_result(False)
        undone, self._jobs = self._jobs[self._answered :], []
        code = self._transport.get_returncode() if self._transport is not None else None
        self._pool.lost(self, undone, begun=self._begun, overran=code == -signal.SIGPROF and not self._hung)
        if self._transport is not None:
            self._transport.close()
