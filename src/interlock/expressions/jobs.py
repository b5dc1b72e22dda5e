"""A job for an evaluator process, and who waits for what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interlock.errors import InterlockError
from interlock.expressions.context import Context
from interlock.expressions.evaluate import EvaluationStopped, Stopped, never
from interlock.expressions.failures import FunctionFailed
from interlock.expressions.functions import asking


class Job:
    """What a process is asked for, and who waits for its outcomes."""

    __slots__ = (
        "alone",
        "begun",
        "body",
        "context",
        "failure",
        "kills",
        "read",
        "result",
        "single",
        "stopped",
        "tries",
    )

    def __init__(
        self,
        body: bytes,
        read: Callable[[Any], Any],
        *,
        single: bool,
        context: Context | None = None,
        stopped: Stopped = never,
    ) -> None:
        self.single = single
        """It is one unit, so what ends its process is known."""
        self.context = context
        self.body = body
        self.read = read
        """Reads one outcome from JSON."""
        self.stopped = stopped
        self.result: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        self.alone = False
        """Whether a process died with this job: later it is sent alone, and the process reports when it begins."""
        self.kills = 0
        """Number of processes that this job ended: each worked on it alone and was not killed by the server."""
        self.begun = 0
        """Processes that were lost while they worked on it alone."""
        self.tries = 0
        self.failure: InterlockError | None = None
        """What the directory raised."""

    def settle(self, outcomes: Sequence[object]) -> None:
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
        ask = asking(self.context.directory) if self.context is not None else None
        if ask is not None:
            try:
                return {"answer": ask(method, tuple(arguments))}
            except FunctionFailed:
                pass
            except InterlockError as failure:
                self.failure = failure
        return {}
