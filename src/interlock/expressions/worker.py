"""The child process: evaluates what might be dear, so that it can be killed.

It is started with one pipe in and one out, holds no secret, opens nothing, and ends when its pipe is closed, however
its parent ended. Each frame is four bytes of length (big-endian) and JSON. A job is evaluated within a budget of
processor time that the kernel enforces: nothing else can interrupt an expression. A job over several contexts has the
budget for each.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from interlock.expressions.context import unpacked
from interlock.expressions.environment import Environment, Scope
from interlock.expressions.failures import ExpressionFailed, FunctionFailed, Origin, OverBudget
from interlock.expressions.functions import ASKABLE, DirectoryFunctions
from interlock.expressions.limits import CHILD_CPU_SECONDS, CHILD_MEMORY
from interlock.expressions.names import Kind, Place
from interlock.expressions.program import Program

HEADER: Final = struct.Struct(">I")
_KEPT: Final = 256


class Pipe:
    """Frames over two file descriptors, blocking."""

    def __init__(self, source: int, target: int) -> None:
        self._source = os.fdopen(source, "rb")
        self._target = os.fdopen(target, "wb")

    def read(self) -> bytes | None:
        header = self._source.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        (size,) = HEADER.unpack(header)
        body = self._source.read(size)
        return body if len(body) == size else None

    def write(self, message: Mapping[str, object]) -> None:
        body = json.dumps(message, separators=(",", ":")).encode()
        self._target.write(HEADER.pack(len(body)) + body)
        self._target.flush()


class RemoteDirectory:
    """The directory, asked of the parent process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def __getattr__(self, method: str) -> Any:
        if method not in ASKABLE:
            raise AttributeError(method)

        def ask(*arguments: object) -> object:
            self._pipe.write({"ask": method, "arguments": arguments})
            answer = self._pipe.read()
            if answer is None:
                raise SystemExit
            found: dict[str, object] = json.loads(answer)
            if "answer" not in found:
                raise FunctionFailed("the directory could not be read")
            return found["answer"]

        return ask


class Programs:
    """Compiled expressions, the latest used kept."""

    def __init__(self) -> None:
        self._environment = Environment(directory=True)
        self._kept: OrderedDict[tuple[str, str, str], Program] = OrderedDict()

    def get(self, place: str, kind: str, source: str) -> Program:
        key = (place, kind, source)
        program = self._kept.get(key)
        if program is None:
            program = self._environment.compile(source, Kind(kind), Scope(Place(place), Origin()))
            self._kept[key] = program
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return program


def evaluate(job: Mapping[str, Any], programs: Programs, directory: DirectoryFunctions | None) -> dict[str, object]:
    """The answer to a job: the values of its expressions, or why the first of them failed."""
    context = unpacked(job["context"].encode(), directory if job["directory"] else None)
    values = []
    for index, (place, kind, source) in enumerate(job["programs"]):
        try:
            values.append(programs.get(place, kind, source).evaluate(context))
        except ExpressionFailed as failure:
            return {
                "failed": index,
                "reason": failure.reason,
                "offset": failure.offset,
                "over_budget": isinstance(failure, OverBudget),
            }
    return {"values": values}


def evaluate_each(job: Mapping[str, Any], programs: Programs) -> dict[str, object]:
    """The answers to a job with several contexts, each within the budget of one."""
    each = []
    for context in job["contexts"]:
        signal.setitimer(signal.ITIMER_PROF, CHILD_CPU_SECONDS)
        each.append(evaluate({**job, "context": context}, programs, None))
    return {"each": each}


def main() -> None:
    """Serve jobs until the pipe closes."""
    # Ctrl-C reaches the whole process group; only the parent decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    pipe = Pipe(os.dup(0), os.dup(1))
    # What a library may print must not end up between the frames.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    programs = Programs()
    programs.get(Place.STEP.value, Kind.ANY.value, "1")
    pipe.write({"ready": True})
    directory: Any = RemoteDirectory(pipe)
    while (frame := pipe.read()) is not None:
        signal.setitimer(signal.ITIMER_PROF, CHILD_CPU_SECONDS)
        try:
            job = json.loads(frame)
            answer = evaluate_each(job, programs) if "contexts" in job else evaluate(job, programs, directory)
        except MemoryError:
            answer = {"failed": 0, "reason": "it needs too much memory", "offset": 0, "over_budget": True}
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.write(answer)
