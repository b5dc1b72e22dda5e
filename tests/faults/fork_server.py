"""Servers that a fork server starts ten times faster, and under strace.

    async with ForkServer() as fork_server:
        server = Server(fork_server, directory, egress=["127.0.0.1:9000"])
        await server.start(Injection("pwrite64", "signal=SIGKILL", "17"))

What `interlock serve` takes to start is nearly all imports. So one process imports everything once and forks for each
server, which then runs the very command: the same arguments, the same `main`, a process of its own.

strace can be there from the first instruction (`start(tracing)`), or from when the port accepts (`trace(tracing)`).
What has to be known of it: the count behind `when=` is kept *for each thread and each name of a system call*. So a
start and the writer's thread are two loops, not one; a list of names would skip points; and version 6.1 injects nothing
at all together with --seccomp-bpf.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from interlock.assembly.system import Platform
from interlock.cli.main import main as interlock
from interlock.expressions.evaluate import LocalEvaluator
from tests.servers import LOOK, PATIENCE


@dataclass(frozen=True, slots=True)
class Injection:
    """One system call, what happens to it, and to which of them: `7`, `7+` for that and all after it."""

    call: str
    action: str
    when: str = "1+"
    file: Path | None = None
    """Only calls that are about this file."""

    def arguments(self) -> list[str]:
        inject = f"inject={self.call}:{self.action}:when={self.when}"
        only = [] if self.file is None else ["-P", str(self.file)]
        return ["-qq", "-o", os.devnull, "-e", f"trace={self.call}", "-e", inject, *only]

    def __str__(self) -> str:
        return f"{self.call} {self.when} {self.action}"


@dataclass(frozen=True, slots=True)
class Log:
    """Every call of these names with all its bytes, written to a file."""

    calls: tuple[str, ...]
    file: Path

    def arguments(self) -> list[str]:
        return ["-qq", "-xx", "-s", "2000000", "-e", f"trace={','.join(self.calls)}", "-o", str(self.file)]


Tracing = Injection | Log

NEEDED = ("interlock.cli.serve", "uvicorn.protocols.http.httptools_impl", "uvicorn.lifespan.off")
"""What a server imports when it is started."""


class ForkServer:
    """The process that forks servers. `variant`: a module that, once imported, makes them broken on purpose."""

    def __init__(self, *variant: str) -> None:
        self._variant = variant
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._born: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._turn = asyncio.Lock()
        self.servers: set[Server] = set()
        """Those whose end has not been waited for."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            *self._variant,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        for server in tuple(self.servers):
            # With its strace, which otherwise would outlive the event loop.
            await server.kill()
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    async def fork(self, arguments: list[str], log: Path, *, held: bool) -> tuple[int, asyncio.Future[int]]:
        """Start a new server.

        Args:
            held: The server stops itself before its first step and waits for SIGCONT.

        Returns:
            The process id, and a future of the exit code (negative: the number of the signal that ended it).
        """
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._turn:
            order = {"arguments": arguments, "log": str(log), "held": held}
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            return await self._born.get()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if "code" in told:
                # The number may be given to another process at once.
                self._ends.pop(told["pid"]).set_result(told["code"])
            else:
                end = self._ends[told["pid"]] = asyncio.get_running_loop().create_future()
                self._born.put_nowait((told["pid"], end))


@dataclass(eq=False)
class Server:
    """One data directory, `directory / "data"`, and the process that serves it at the moment."""

    fork_server: ForkServer
    directory: Path
    egress: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    url: str = ""
    listen: str = "127.0.0.1:0"
    credential: tuple[str, str] = ("", "")
    pid: int = 0
    ended: asyncio.Future[int] | None = None
    tracer: asyncio.subprocess.Process | None = None

    async def start(self, tracing: Tracing | None = None) -> bool:
        """Start it; whether it came as far as serving."""
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["serve", "--listen", self.listen, "--ready-file", str(ready)]
        arguments += ["--data-dir", str(self.directory / "data"), "--log-format", "json", *self.options]
        for entry in self.egress:
            arguments += ["--allow-egress", entry]
        self.pid, self.ended = await self.fork_server.fork(arguments, self.log, held=tracing is not None)
        self.fork_server.servers.add(self)
        if tracing is not None:
            await self._until_stopped()
            await self.trace(tracing)
            os.kill(self.pid, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE):
            while not ready.exists():
                if self.ended.done():
                    await self.wait()
                    return False
                await asyncio.sleep(LOOK)
        told = json.loads(ready.read_text())
        self.url = told["url"]
        # Started again, it has to be found at the same place.
        self.listen = self.url.partition("://")[2]
        if "client_secret" in told:
            self.credential = told["client_id"], told["client_secret"]
        return True

    async def _until_stopped(self) -> None:
        """Wait until the server has stopped itself: an earlier SIGCONT is lost."""
        async with asyncio.timeout(PATIENCE):
            while "State:\tT" not in Path(f"/proc/{self.pid}/status").read_text():
                await asyncio.sleep(LOOK)

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    async def trace(self, tracing: Tracing) -> None:
        """Put the process under strace from now on."""
        complaints = self.directory / "strace.txt"
        # A file and no pipe: nothing reads a pipe once the trace has begun, and it would outlive the process.
        with complaints.open("wb") as file:
            self.tracer = await asyncio.create_subprocess_exec(
                "strace", "-f", *tracing.arguments(), "-p", str(self.pid), stderr=file
            )
        status = Path(f"/proc/{self.pid}/task")
        async with asyncio.timeout(PATIENCE):
            while not all(_traced(thread / "status") for thread in status.iterdir()):
                if self.tracer.returncode is not None:
                    raise AssertionError(complaints.read_text())
                await asyncio.sleep(LOOK)

    async def untrace(self, after: float) -> None:
        """Let go of the process in so many seconds: from then on nothing is injected."""
        await asyncio.sleep(after)
        if self.tracer is not None and self.tracer.returncode is None:
            self.tracer.send_signal(signal.SIGINT)
            await self.tracer.wait()
            self.tracer = None

    @property
    def is_running(self) -> bool:
        return self.ended is not None and not self.ended.done()

    async def kill(self) -> None:
        """kill -9, unless it has ended already."""
        if self.is_running:
            os.kill(self.pid, signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)
        return await self.wait()

    async def wait(self) -> int:
        """Wait for its end; the exit code."""
        assert self.ended is not None
        async with asyncio.timeout(PATIENCE):
            code = await asyncio.shield(self.ended)
            if self.tracer is not None:
                await self.tracer.wait()
                self.tracer = None
        self.fork_server.servers.discard(self)
        return code


def _traced(status: Path) -> bool:
    try:
        return "TracerPid:\t0\n" not in status.read_text()
    except OSError:
        return True


# --- the process that forks -------------------------------------------------------------------------------------------


def serve_orders() -> None:
    """Fork a server for each line of the input; say of each that it is there, and how it ended. Ends with the input."""
    waker, wakened = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wakened, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wakened)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(waker, selectors.EVENT_READ)
    children: set[int] = set()
    pending = b""
    while True:
        for key, _ in selector.select():
            if key.fd == waker:
                with contextlib.suppress(BlockingIOError):
                    os.read(waker, 4096)
                for pid in _reaped(children):
                    _say(pid=pid[0], code=pid[1])
                continue
            data = os.read(0, 65536)
            if not data:
                for child in children:
                    os.kill(child, signal.SIGKILL)
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                child = os.fork()
                if child == 0:
                    selector.close()
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(waker)
                    os.close(wakened)
                    _become_server(**json.loads(line))
                children.add(child)
                _say(pid=child)


def _reaped(children: set[int]) -> list[tuple[int, int]]:
    found = []
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            children.discard(child)
            found.append((child, os.waitstatus_to_exitcode(status)))
    return found


def _say(**told: int) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


def _become_server(arguments: list[str], log: str, held: bool) -> None:
    os.setsid()
    null, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)
    if held:
        os.kill(os.getpid(), signal.SIGSTOP)
    # Expressions are evaluated in the server itself: an evaluator is an interpreter's start for each of many hundred
    # servers, and strace would follow it.
    real = Platform.real
    Platform.real = lambda http=None: replace(real(http), evaluator=LocalEvaluator)  # type: ignore[method-assign]
    sys.argv = ["interlock", *arguments]
    # SystemExit is not caught here: the process ends as the command does.
    interlock()


if __name__ == "__main__":
    for module in (*NEEDED, *sys.argv[1:]):
        importlib.import_module(module)
    gc.freeze()
    serve_orders()
