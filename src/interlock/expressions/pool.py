"""The evaluator of a server: supervised processes that evaluate what CEL has to evaluate.

Jobs of one turn of the event loop go together, in one frame for each process that is free. A process that dies costs a
retry on another one: the jobs of its frame are tried again one by one, and an expression fails only if it alone used up
its budget, or ended MAX_KILLS processes. A process that is killed from outside is held against no job, unless that
happens to one MAX_TRIES times. One process more than may work at once is kept, so that a spare takes over immediately;
a process is a fresh interpreter and not a fork of the server, and gets what the expression reads and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from interlock.errors import Unavailable
from interlock.expressions.analysis import Analysed, Named, Refusal, from_json
from interlock.expressions.cel import Finding
from interlock.expressions.context import Context
from interlock.expressions.environment import Environment
from interlock.expressions.evaluate import EvaluationStopped, Evaluator, Stopped, never
from interlock.expressions.failures import Unusable
from interlock.expressions.jobs import Job
from interlock.expressions.limits import (
    EVALUATOR_RESTART_SECONDS,
    EVALUATORS,
    MAX_BATCH_BYTES,
    MAX_BATCH_JOBS,
    MAX_INPUT,
    MAX_KILLS,
    MAX_TRIES,
)
from interlock.expressions.process import EvaluatorProcess
from interlock.expressions.remote import RemoteEnvironment
from interlock.expressions.script import Failure, Outcome, Script
from interlock.system import Slices

_OVERRUN: Final = Failure(0, "it used more time than an expression may", over_budget=True)
_KILLER: Final = Failure(
    0, f"it ended the process that evaluated it {MAX_KILLS} times, or needs too much memory", over_budget=True
)
_LOST: Final = Failure(
    0,
    f"{MAX_TRIES} processes were killed while they evaluated it: it may need more memory than there is",
    over_budget=True,
)


class EvaluatorPool(Evaluator):
    """Evaluates in `workers` processes at once, and keeps one more. `aclose` ends them."""

    def __init__(self, *, workers: int = EVALUATORS) -> None:
        super().__init__()
        self._workers = workers
        self._children: set[EvaluatorProcess] = set()
        self._idle: list[EvaluatorProcess] = []
        self._leaving: set[EvaluatorProcess] = set()
        """Replaced, and not ended yet."""
        self._starting: set[asyncio.Task[None]] = set()
        self._urgent_slices = Slices()
        self._urgent: deque[Job] = deque()
        self._queue: deque[Job] = deque()
        self._kicked = False
        self._restart: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def children(self) -> tuple[EvaluatorProcess, ...]:
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
        if stopped():
            raise EvaluationStopped
        slices = self._urgent_slices if urgent else self.slices
        await slices.turn()
        if stopped():
            raise EvaluationStopped
        try:
            body = _body(script, context)
        except Unusable as error:
            slices.spent(MAX_INPUT)
            # Together they may read too much where each alone does not: then each is asked for alone.
            return [Failure(0, error.reason, over_budget=error.over_budget)] if script.single is not None else []
        slices.spent(len(body))
        job = Job(body, _outcome, single=script.single is not None, context=context, stopped=stopped)
        return await self._done(job, urgent)

    def environment(self) -> Environment:
        """Compiles in the processes."""
        return RemoteEnvironment(self)

    async def analyse(self, named: Named, *, urgent: bool = False) -> Analysed:
        """What CEL makes of a source. Raises Unavailable."""
        body = f'{{"analyse":{json.dumps(named)}}}'.encode()
        (analysed,) = await self._done(Job(body, from_json, single=True), urgent)
        if isinstance(analysed, Failure):
            return Refusal((Finding(1, 1, "the expression takes too much time or memory to compile"),))
        found: Analysed = analysed
        return found

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

    async def _done(self, job: Job, urgent: bool) -> Sequence[Any]:
        if self._closed:
            raise Unavailable("the server is stopping")
        (self._urgent if urgent else self._queue).append(job)
        self._kick()
        return await job.result

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
        """Start what is missing: one process first, so that the start of the server has the other cores."""
        if self._closed or self._restart is not None:
            return
        wanted = self._workers + 1 if self._children else 1
        while len(self._children) + len(self._starting) < wanted:
            task = asyncio.get_running_loop().create_task(self._start(), name="evaluator")
            self._starting.add(task)
            task.add_done_callback(self._started)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        self._fill()

    async def _start(self) -> None:
        child = EvaluatorProcess(self)
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

    def finished(self, child: EvaluatorProcess, undone: Sequence[Job], retire: bool) -> None:
        """A process has worked off its frame, except for `undone`."""
        if retire:
            self._children.discard(child)
            self._leaving.add(child)
            child.finish()
        elif not self._closed:
            self._idle.append(child)
        self._again(undone)
        self._kick()

    def lost(self, child: EvaluatorProcess, undone: Sequence[Job], *, begun: bool, overran: bool, killed: bool) -> None:
        """A process has ended, whatever the reason, before it answered `undone`.

        Args:
            begun: it said that it began the one job it was given alone.
            overran: the job used up its budget.
            killed: it was killed from outside.
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
            self._retry(job, begun, overran, killed)
        self._again(undone)
        self._fill()
        self._kick()

    def _retry(self, job: Job, begun: bool, overran: bool, killed: bool) -> None:
        """Judge a job whose process has ended; if it is not settled, it is tried again."""
        job.tries += 1
        job.begun += begun
        job.kills += begun and not killed
        if begun and not job.single:
            # Which of its expressions it was is not known: they are asked for one by one.
            job.settle([])
        elif begun and overran:
            job.settle([_OVERRUN])
        elif job.kills >= MAX_KILLS:
            job.settle([_KILLER])
        elif job.begun >= MAX_TRIES:
            job.settle([_LOST])
        elif job.tries > MAX_TRIES:
            job.fail(Unavailable("no process for expressions stays alive"))
        job.alone = True


def _outcome(found: Any) -> Outcome:
    return Failure(**found) if isinstance(found, dict) else found


def _body(script: Script, context: Context) -> bytes:
    directory = "false" if context.directory is None else "true"
    return f'{{"script":{script.text},"context":{context.packed(script.inputs)},"directory":{directory}}}'.encode()
