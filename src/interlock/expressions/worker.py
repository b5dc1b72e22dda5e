"""The evaluator process: CEL reads execution data here, so that whatever it does ends this process and no other.

It is started with one pipe in and one out, holds no secret, opens nothing but what the kernel says of itself, and ends
when its pipe is closed, however its parent ended. Each frame is four bytes of length (big-endian) and JSON. A frame
holds jobs; the answers come back in order, in one frame or more, the last of which says `end`. What was not begun in
the time of a batch is left out and asked for again. Each unit of a job (see `script`) has a budget of processor time
that the kernel enforces: nothing else can interrupt an expression.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from interlock.expressions.analysis import Analyst, Recent, to_json
from interlock.expressions.context import unpacked
from interlock.expressions.environment import Environment, Scope
from interlock.expressions.failures import NO_MEMORY, FunctionFailed, Origin
from interlock.expressions.functions import ASKABLE
from interlock.expressions.limits import (
    BATCH_SECONDS,
    COMPILE_CPU_SECONDS,
    EVALUATION_CPU_SECONDS,
    EVALUATOR_MEMORY_BYTES,
    MAX_ANSWER_BYTES,
    MAX_EVALUATOR_GROWTH_BYTES,
    MAX_EVALUATOR_JOBS,
    MAX_EVALUATOR_SOURCE,
    MAX_FRESH_GROWTH_BYTES,
)
from interlock.expressions.names import Kind, Place
from interlock.expressions.program import Program
from interlock.expressions.script import Failure, Outcome, ScriptStep, play

HEADER: Final = struct.Struct(">I")
_FLUSH_SECONDS: Final = 0.002
"""Time after which finished answers are not held back for those that follow."""
_REFERENCES_OF_NONE: Final = 1 << 60


class Starved(Exception):
    """There was not enough memory, and what leaked before may be to blame: a fresh process tells."""


class Pipe:
    """Frames over two file descriptors, blocking."""

    def __init__(self, source: int, target: int) -> None:
        self._source = os.fdopen(source, "rb")
        self._target = target

    def read(self) -> bytes | None:
        header = self._source.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        (size,) = HEADER.unpack(header)
        body = self._source.read(size)
        return body if len(body) == size else None

    def write(self, text: str) -> None:
        body = text.encode()
        left = memoryview(HEADER.pack(len(body)) + body)
        while left:
            left = left[os.write(self._target, left) :]


class RemoteDirectory:
    """The directory, asked of the parent process for the job number `job` of the frame."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.job = 0

    def __getattr__(self, method: str) -> Any:
        if method not in ASKABLE:
            raise AttributeError(method)

        def ask(*arguments: object) -> object:
            self._pipe.write(json.dumps({"ask": method, "arguments": arguments, "job": self.job}))
            answer = self._pipe.read()
            if answer is None:
                raise SystemExit
            found: dict[str, object] = json.loads(answer)
            if "answer" not in found:
                raise FunctionFailed("the directory could not be read")
            return found["answer"]

        return ask


class Programs:
    """Compiled expressions; those unused for the longest make way."""

    def __init__(self) -> None:
        self._environment = Environment(directory=True, most_known=0)
        self._kept: Recent[Program] = Recent(MAX_EVALUATOR_SOURCE)
        self._analyst = Analyst(0)

    def get(self, place: str, kind: str, source: str) -> Program:
        key = (place + kind, source)
        program = self._kept.get(key)
        if program is None:
            _limit(COMPILE_CPU_SECONDS)
            program = self._environment.compile(source, Kind(kind), Scope(Place(place), Origin()))
            self._kept.put(key, program)
        return program

    def analysed(self, place: str, source: str) -> str:
        """What is known of a source, as JSON."""
        return json.dumps(to_json(self._analyst.analysed(Place(place), source)[0]), separators=(",", ":"))

    def steps(self, script: Sequence[Mapping[str, Any]]) -> list[ScriptStep]:
        return [
            ScriptStep(
                step["name"],
                None if step["skip"] is None else self.get(*step["skip"]),
                tuple(tuple(self.get(*named) for named in unit) for unit in step["units"]),
                step["keys"],
            )
            for step in script
        ]


class Server:
    """Serves frames of jobs."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._programs = Programs()
        self._programs.get(Place.STEP.value, Kind.ANY.value, "1")
        self._directory: Any = RemoteDirectory(pipe)
        self._served = 0
        self._memory = Memory()
        self._first_size = self._memory.size()

    def serve(self, frame: bytes) -> None:
        """Answer every job of a frame that can be begun in time."""
        _limit(COMPILE_CPU_SECONDS)
        until = time.process_time() + BATCH_SECONDS
        sent_at = until - BATCH_SECONDS
        answers: list[str] = []
        size = 0
        starved = False
        message = json.loads(frame)
        if "alone" in message:
            self._pipe.write('{"begun":true}')
        for number, job in enumerate(message["jobs"]):
            now = time.process_time()
            if number and (now > until or size > MAX_ANSWER_BYTES):
                break
            if answers and now > sent_at + _FLUSH_SECONDS:
                self._pipe.write(f'{{"answers":[{",".join(answers)}]}}')
                answers, sent_at = [], now
            self._directory.job = number
            try:
                answer = self._answer(job, until)
            except Starved:
                starved = True
                break
            answers.append(answer)
            size += len(answer)
            self._served += 1
        _limit(0)
        retire = starved or self._served > MAX_EVALUATOR_JOBS or self._grown() > MAX_EVALUATOR_GROWTH_BYTES
        last = "true" if retire else "false"
        self._pipe.write(f'{{"answers":[{",".join(answers)}],"end":true,"retire":{last}}}')

    def _grown(self) -> int:
        return self._memory.size() - self._first_size

    def _answer(self, job: Mapping[str, Any], until: float) -> str:
        """The outcomes of a job, as JSON. Raises Starved."""
        _limit(COMPILE_CPU_SECONDS)
        if "analyse" in job:
            return f"[{self._programs.analysed(*job['analyse'])}]"
        fresh = self._grown() <= MAX_FRESH_GROWTH_BYTES
        steps = self._programs.steps(job["script"])
        context = unpacked(job["context"], self._directory if job["directory"] else None)
        written: list[str] = []

        def go_on(outcomes: Sequence[Outcome]) -> bool:
            written.extend(_written(outcome) for outcome in outcomes[len(written) :])
            if outcomes and (time.process_time() > until or sum(map(len, written)) > MAX_ANSWER_BYTES):
                return False
            _limit(EVALUATION_CPU_SECONDS)
            return True

        outcomes = play(steps, context, go_on)
        last = outcomes[-1] if outcomes else None
        if isinstance(last, Failure) and last.reason == NO_MEMORY and not fresh:
            raise Starved
        written.extend(_written(outcome) for outcome in outcomes[len(written) :])
        return "[" + ",".join(written) + "]"


def _written(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome) if isinstance(outcome, Failure) else outcome, separators=(",", ":"))


def _limit(seconds: float) -> None:
    """End this process if it uses more processor time from now on."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


class Memory:
    """The address space of this process, which is what its limit counts."""

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else None

    def size(self) -> int:
        """Bytes; where they cannot be read, the most that was ever resident."""
        if self._statm is not None:
            return int(os.pread(self._statm, 32, 0).split()[0]) * resource.getpagesize()
        # Not on Linux: there it begins with the peak of the process that started this one.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def own_none() -> None:
    """Let None outlive the engine, which gives away one of its references for each null that it converts.

    From Python 3.12 on, None is immortal and this does nothing.
    """
    if sys.version_info >= (3, 12) or sys.implementation.name != "cpython":
        return
    count = ctypes.c_ssize_t.from_address(id(None))
    # A debug build keeps something else there: then it is left alone, and the process ends some day.
    if abs(count.value - sys.getrefcount(None)) < 100:
        count.value = _REFERENCES_OF_NONE


def main() -> None:
    """Serve jobs until the pipe closes."""
    # Ctrl-C reaches the whole process group; only the parent decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    own_none()
    pipe = Pipe(os.dup(0), os.dup(1))
    # What a library may print must not end up between the frames.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_AS, (EVALUATOR_MEMORY_BYTES, EVALUATOR_MEMORY_BYTES))
    server = Server(pipe)
    _limit(0)
    pipe.write('{"ready":true}')
    while (frame := pipe.read()) is not None:
        server.serve(frame)
    # Nothing is left to tidy up, and what the engine leaked is not worth finding.
    os._exit(0)
