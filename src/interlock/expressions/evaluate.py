"""Evaluates any program: on the spot when that is cheap, else in a child process that is killed when it overruns.

Nothing can interrupt an expression on the event loop, not even a terminate, so what loops or grows goes to a small pool
of child processes (`worker`). A child is a fresh interpreter, not a fork of the server; it is started when first
needed, reused, and replaced after it died. It gets what the expression reads and nothing else of the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from interlock.errors import InterlockError, Unavailable
from interlock.expressions.context import Context, joined
from interlock.expressions.failures import ExpressionFailed, FunctionFailed, Unusable
from interlock.expressions.functions import asking
from interlock.expressions.limits import CHILD_START_SECONDS, CHILD_WALL_SECONDS
from interlock.expressions.program import Program
from interlock.expressions.template import Template
from interlock.expressions.worker import HEADER

_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from interlock.expressions.worker import main; main()"
_GRACE_SECONDS: Final = 0.005


class Evaluator:
    """Evaluates programs and templates. One for the process; `aclose` ends its children.

    `workers` is the most children at once; a job that finds none free waits for one.
    """

    def __init__(self, *, workers: int = 2) -> None:
        self._free = workers
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def children(self) -> tuple[Child, ...]:
        """The child processes there are."""
        return tuple(child for child in self._children if child.alive)

    @property
    def busy(self) -> int:
        """How many of them are at work."""
        return sum(child.busy for child in self.children)

    async def evaluate(self, program: Program, context: Context) -> object:
        """The result as plain JSON.

        Raises ExpressionFailed, OverBudget; Unavailable if no child can be started; and what the directory raises.
        """
        if program.inline(context):
            return program.evaluate(context)
        return (await self._elsewhere((program,), context))[0]

    async def evaluate_each(self, program: Program, contexts: Sequence[Context]) -> list[object]:
        """The results over several contexts without a directory, in order. A failure is a result, as ExpressionFailed.

        What is dear goes to a child together, each with a budget of its own. Raises Unavailable as `evaluate` does.
        """
        results: list[object] = [None] * len(contexts)
        packed: dict[int, str] = {}
        for index, context in enumerate(contexts):
            try:
                if program.inline(context):
                    results[index] = program.evaluate(context)
                else:
                    packed[index] = _packed((program,), context)
            except ExpressionFailed as failure:
                results[index] = failure
        if packed:
            job = {"programs": _named((program,)), "contexts": list(packed.values()), "directory": False}
            answer = await self._run(job, None)
            # One that overruns ends the child with the others: then each is tried alone.
            answers = [None] * len(packed) if answer is None or "each" not in answer else answer["each"]
            for index, one in zip(packed, answers, strict=True):
                try:
                    if one is None:
                        results[index] = await self.evaluate(program, contexts[index])
                    else:
                        results[index] = _values((program,), one)[0]
                except ExpressionFailed as failure:
                    results[index] = failure
        return results

    async def render(self, template: Template, context: Context) -> object:
        """The template with all values in it. Raises as `evaluate` does."""
        if template.inline(context):
            return template.render(context)
        return template.fill(await self._elsewhere(template.programs, context))

    async def aclose(self) -> None:
        """End the children: at once those that work, by closing their pipes those that are idle."""
        self._closed = True
        idle, self._idle = self._idle, []
        for child in idle:
            child.finish()
        for child in list(self._children):
            if child not in idle:
                child.kill()
        for child in list(self._children):
            await child.ended()
        self._children.clear()
        while self._waiting:
            _wake(self._waiting.popleft())

    async def _elsewhere(self, programs: Sequence[Program], context: Context) -> Sequence[object]:
        job = {
            "programs": _named(programs),
            "context": _packed(programs, context),
            "directory": context.directory is not None,
        }
        return _values(programs, await self._run(job, context))

    async def _run(self, job: Mapping[str, object], context: Context | None) -> dict[str, Any] | None:
        child = await self._take()
        try:
            return await child.run(job, context)
        finally:
            # A child whose caller was cancelled still works on what nobody waits for: it is not given back.
            self._give_back(child)

    async def _take(self) -> Child:
        while True:
            if self._closed:
                raise Unavailable("the server is stopping")
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    return child
                self._children.discard(child)
                self._free += 1
            if self._free:
                self._free -= 1
                return await self._start()
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise

    async def _start(self) -> Child:
        child = Child()
        self._children.add(child)
        try:
            await child.start()
        except BaseException:
            child.kill()
            self._give_back(child)
            raise
        return child

    def _give_back(self, child: Child) -> None:
        if child.alive and not child.busy and not self._closed:
            self._idle.append(child)
        else:
            child.kill()
            if not self._closed:
                self._children.discard(child)
            self._free += 1
        self._next()

    def _next(self) -> None:
        while self._waiting and not _wake(self._waiting.popleft()):
            pass


def _named(programs: Sequence[Program]) -> list[tuple[str, str, str]]:
    return [(p.place.value, p.kind.value, p.source) for p in programs]


def _packed(programs: Sequence[Program], context: Context) -> str:
    try:
        return context.packed(joined(program.inputs for program in programs))
    except Unusable as error:
        raise programs[0].refused(error.reason, over_budget=error.over_budget) from None


def _values(programs: Sequence[Program], answer: dict[str, Any] | None) -> Sequence[object]:
    """What a child answered. Raises ExpressionFailed, OverBudget."""
    if answer is None:
        raise programs[0].over_budget("it used more time or memory than an expression may")
    if "values" in answer:
        values: list[object] = answer["values"]
        return values
    failed = programs[answer["failed"]]
    raise failed.refused(answer["reason"], over_budget=answer["over_budget"], offset=answer["offset"])


def _wake(turn: asyncio.Future[None]) -> bool:
    if turn.done():
        return False
    turn.set_result(None)
    return True


class Child(asyncio.SubprocessProtocol):
    """One child process and the job it works on."""

    def __init__(self) -> None:
        self.alive = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[dict[str, Any] | None] | None = None
        self._context: Context | None = None
        self._failure: InterlockError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._exited = asyncio.get_running_loop().create_future()

    @property
    def busy(self) -> bool:
        """Whether it works on a job."""
        return self._answer is not None

    @property
    def pid(self) -> int:
        """Its process id, 0 before it has one."""
        return self._transport.get_pid() or 0 if self._transport is not None else 0

    async def start(self) -> None:
        """Raises Unavailable."""
        loop = asyncio.get_running_loop()
        # Without the environment of the server, which may hold secrets; zone files may lie elsewhere, though.
        kept = {name: os.environ[name] for name in ("TZDIR", "PYTHONTZPATH", "LD_LIBRARY_PATH") if name in os.environ}
        try:
            transport, _ = await loop.subprocess_exec(
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
            raise Unavailable("no process could be started for an expression") from error
        self._transport = transport
        self.alive = not self._exited.done()
        if await self._awaited(None, CHILD_START_SECONDS) is None:
            raise Unavailable("a process for expressions did not start")

    async def run(self, job: Mapping[str, object], context: Context | None) -> dict[str, Any] | None:
        """The child's answer, or None if it overran and was killed. Raises what the directory raised."""
        self._context = context
        self._failure = None
        answer = await self._awaited(job, CHILD_WALL_SECONDS)
        if self._failure is not None:
            raise self._failure
        return answer

    async def _awaited(self, message: Mapping[str, object] | None, seconds: float) -> dict[str, Any] | None:
        loop = asyncio.get_running_loop()
        answer = self._answer = loop.create_future()
        if not self.alive:
            answer.set_result(None)
        elif message is not None:
            self._send(message)
        self._timer = loop.call_later(seconds, self._overrun, True)
        try:
            result: dict[str, Any] | None = await answer
        finally:
            self._timer.cancel()
        # Not on cancellation: then the child is still at work, and `busy` says so.
        self._answer = self._context = None
        return result

    def kill(self) -> None:
        """End it now."""
        self.alive = False
        if self._transport is not None:
            try:
                self._transport.kill()
            except ProcessLookupError:
                pass
            self._transport.close()

    def finish(self) -> None:
        """Let it end: it stops when its pipe closes."""
        pipe = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if pipe is not None:
            pipe.close()

    async def ended(self) -> None:
        """Wait until it has ended, killing it if it takes too long."""
        timer = asyncio.get_running_loop().call_later(CHILD_WALL_SECONDS, self.kill)
        try:
            if self._transport is not None:
                await asyncio.shield(self._exited)
                self._transport.close()
        finally:
            timer.cancel()

    def _overrun(self, again: bool) -> None:
        # An answer may lie in the pipe, unread because the loop was busy: look once more before judging.
        if again:
            self._timer = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._overrun, False)
        else:
            self.kill()
            self._settle(None)

    def _settle(self, result: dict[str, Any] | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(result)

    def _send(self, message: Mapping[str, object]) -> None:
        pipe: Any = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if pipe is not None and not pipe.is_closing():
            body = json.dumps(message, separators=(",", ":")).encode()
            pipe.write(HEADER.pack(len(body)) + body)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= HEADER.size:
            (size,) = HEADER.unpack_from(received)
            if len(received) < HEADER.size + size:
                return
            message = json.loads(bytes(received[HEADER.size : HEADER.size + size]))
            del received[: HEADER.size + size]
            if "ask" in message:
                self._send(self._asked(message["ask"], message["arguments"]))
            else:
                self._settle(message)

    def _asked(self, method: str, arguments: Sequence[object]) -> Mapping[str, object]:
        """The directory is asked here, where it is; the child gets the answer."""
        ask = asking(self._context.directory) if self._context is not None else None
        if ask is not None:
            try:
                return {"answer": ask(method, tuple(arguments))}
            except FunctionFailed:
                pass
            except InterlockError as failure:
                self._failure = failure
        return {}

    def process_exited(self) -> None:
        self.alive = False
        if not self._exited.done():
            self._exited.set_result(None)
        self._settle(None)
