"""One evaluator process, seen from the server: started, given a frame of jobs, watched, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from interlock.errors import Unavailable
from interlock.expressions.jobs import Job
from interlock.expressions.limits import EVALUATION_WALL_SECONDS, EVALUATOR_START_SECONDS
from interlock.expressions.worker import HEADER

_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from interlock.expressions.worker import main; main()"
_GRACE_SECONDS: Final = 0.005


class Owner(Protocol):
    """Who is told of what becomes of a process."""

    def finished(self, process: EvaluatorProcess, undone: Sequence[Job], retire: bool) -> None: ...
    def lost(
        self, process: EvaluatorProcess, undone: Sequence[Job], *, begun: bool, overran: bool, killed: bool
    ) -> None: ...


class EvaluatorProcess(asyncio.SubprocessProtocol):
    """One evaluator process and the frame that it works on."""

    def __init__(self, pool: Owner) -> None:
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
                job.settle([job.read(one) for one in outcomes])
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
        # No expression sends SIGKILL: an operator does, or a system that is out of memory.
        killed = code == -signal.SIGKILL and not self._hung
        overran = code == -signal.SIGPROF and not self._hung
        self._pool.lost(self, undone, begun=self._begun, overran=overran, killed=killed)
        if self._transport is not None:
            self._transport.close()
