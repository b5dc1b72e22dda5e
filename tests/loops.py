"""An event loop that measures the CPU time of each callback, for every test.

A callback that keeps the event loop of the server busy keeps every termination waiting. The loop records the CPU time
of the thread, and leaves out garbage collections, whose length depends on what the test suite holds in memory. Two
threads that share a core make each other up to twice as slow, in CPU time too: a callback that seems too long is held
against a piece of work whose best time is known.

It imports nothing of the project: `tools/mutants` changes modules before anything has imported them.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import uvloop

T = TypeVar("T")

MAX_CALLBACK_CPU_SECONDS: Final = 0.1
"""CPU time that one callback of the event loop may take."""
REPORT_VARIABLE: Final = "MEASURED_LOOP_REPORT"
"""Environment variable: the file to which a server process writes its slow callbacks, one a line."""
_TESTS: Final = Path(__file__).parent
_PROTOCOL_METHODS: Final = (
    "connection_made",
    "connection_lost",
    "data_received",
    "eof_received",
    "buffer_updated",
    "pause_writing",
    "resume_writing",
    "pipe_data_received",
    "pipe_connection_lost",
    "process_exited",
)


def _reference_seconds() -> float:
    """CPU seconds that a fixed piece of work takes now: the least of some tries."""
    tries = []
    for _ in range(5):
        began = time.thread_time()
        sum(number * number for number in range(20_000))
        tries.append(time.thread_time() - began)
    return min(tries)


class Meter:
    """Measures callbacks and keeps a text for each that took too much CPU time."""

    def __init__(self, report: Callable[[str], None] | None = None) -> None:
        self.found: list[str] = []
        self.skips_test_steps = False
        """Whether the steps of the test's own tasks are left out: what is tested then runs elsewhere."""
        self._report = report or self.found.append
        self._best = _reference_seconds()
        self._collecting_since = 0.0
        self._left_out = 0.0

    def watch_collections(self) -> None:
        """Leave garbage collections out from now on."""
        gc.callbacks.append(self._collection)

    def _collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._left_out += time.thread_time() - self._collecting_since

    def run(self, callback: Callable[..., T], *arguments: Any) -> T:
        """Call, and record the call if it takes too much CPU time."""
        left_out, began = self._left_out, time.thread_time()
        try:
            return callback(*arguments)
        finally:
            taken = time.thread_time() - began - (self._left_out - left_out)
            if taken > MAX_CALLBACK_CPU_SECONDS and not self._is_left_out(callback):
                taken = self.alone(taken)
                if taken > MAX_CALLBACK_CPU_SECONDS:
                    self._report(f"{taken * 1000:,.0f} ms of CPU in one callback: {_described(callback)}")

    def _is_left_out(self, callback: Callable[..., object]) -> bool:
        return _is_step_of(callback, "run.<locals>.wrapper") or (
            self.skips_test_steps
            and (_is_step_of(callback, "TestRunner._run_tests_and_fixtures") or _is_step_of_a_test(callback))
        )

    def alone(self, taken: float) -> float:
        """CPU seconds that work which took so many just now would take with the core to itself."""
        now = _reference_seconds()
        self._best = min(self._best, now)
        return taken * self._best / now

    def least(self, work: Callable[[], object], limit: float, tries: int = 10) -> float:
        """CPU seconds that the work takes with the core to itself: the least of some tries.

        No more are made once one is below the limit: what else the machine does can only add to them.
        """
        least = float("inf")
        while tries and least >= limit:
            began = time.thread_time()
            work()
            least = min(least, self.alone(time.thread_time() - began))
            tries -= 1
        return least

    def take(self) -> list[str]:
        """The texts since the last call."""
        found, self.found[:] = self.found[:], []
        return found

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Leave out the work within this context, because it is the test's own."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._left_out += time.thread_time() - began


METER: Final = Meter()
"""The meter of this process."""


class _LoopWithProcesses(uvloop.Loop):
    """Names the processes that still run when it is closed: uvloop's own warning of them does not."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: list[tuple[asyncio.SubprocessTransport, tuple[object, ...]]] = []

    async def subprocess_exec(self, protocol_factory: Any, *command: Any, **options: Any) -> Any:
        transport, protocol = await super().subprocess_exec(protocol_factory, *command, **options)
        self._processes.append((cast(asyncio.SubprocessTransport, transport), command))
        return transport, protocol

    def close(self) -> None:
        for transport, command in self._processes:
            if transport.get_returncode() is None:
                sys.stderr.write(f"still running at the end of the loop: {command}\n")
        super().close()


def measured_loop(meter: Meter) -> type[uvloop.Loop]:
    """uvloop with every callback of tasks, timers, files and protocols measured."""

    def callback(name: str, position: int) -> Callable[..., Any]:
        method = getattr(uvloop.Loop, name)

        def call(self: object, *args: Any, **named: Any) -> Any:
            return method(self, *args[:position], meter.run, *args[position:], **named)

        return call

    def factory(name: str) -> Callable[..., Any]:
        method = getattr(_LoopWithProcesses, name)

        def call(self: object, make: Callable[[], object], *args: Any, **named: Any) -> Any:
            def made() -> object:
                protocol = make()
                protocol.__class__ = _measured_class(cast(Hashable, type(protocol)), meter)
                return protocol

            return method(self, made, *args, **named)

        return call

    methods = {name: callback(name, 0) for name in ("call_soon", "call_soon_threadsafe")}
    methods |= {name: callback(name, 1) for name in ("call_later", "call_at", "add_reader", "add_writer")}
    methods |= {name: factory(name) for name in ("create_server", "create_connection", "subprocess_exec")}
    return type("MeasuredLoop", (_LoopWithProcesses,), methods)


MeasuredLoop: Final = measured_loop(METER)


@functools.cache
def _measured_class(protocol: Hashable, meter: Meter) -> type:
    """The protocol class with its callbacks measured, of the same layout: an instance can change over to it."""

    def measured(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: object, *args: Any) -> Any:
            return meter.run(method, self, *args)

        return call

    assert isinstance(protocol, type)
    methods = {name: measured(getattr(protocol, name)) for name in _PROTOCOL_METHODS if hasattr(protocol, name)}
    return type(protocol.__name__, (protocol,), {"__slots__": (), **methods})


def _coroutine_of(callback: object) -> object:
    """The coroutine of the task that the callback is a step of; None if it is no step of a task."""
    task = getattr(callback, "__self__", None)
    return task.get_coro() if isinstance(task, asyncio.Task) else None


def _is_step_of(callback: object, coroutine: str) -> bool:
    """Whether the callback is a step of a task of this coroutine; uvloop's own is the start of the server."""
    return coroutine in repr(_coroutine_of(callback))


def _is_step_of_a_test(callback: object) -> bool:
    """Whether the callback is a step of a task that a test started, of a coroutine of its own."""
    code = getattr(_coroutine_of(callback), "cr_code", None)
    return code is not None and Path(code.co_filename).is_relative_to(_TESTS)


def _described(callback: Any) -> str:
    """A callback, with the coroutine it drives where it is a step of a task."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"a step of {task.get_name()}: {task.get_coro()!r}"
    return repr(callback)
