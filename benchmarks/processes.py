"""Processes of a benchmark: started, measured, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Address, Failed
from benchmarks.report import ROOT

PATIENCE = 120.0
"""Seconds within which a process has to be ready, and to have ended."""
LOOK = 0.001
_CPUCLOCK_SCHED = 2
"""The clock of Linux that counts the CPU time of a process in nanoseconds (`clock_getcpuclockid`)."""
_SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process and its children."""

    resident: int
    anonymous: int
    """Without files mapped into it: what it has allocated."""


class Started:
    """A process that writes a ready file with its `url`.

    Args:
        command: what to run; `--ready-file FILE` is appended.
        directory: for its log and its ready file.
        tree: the checkout whose source runs; this one by default.
    """

    def __init__(self, command: Sequence[str], directory: Path, tree: Path = ROOT) -> None:
        ready = directory / "ready.json"
        ready.unlink(missing_ok=True)
        self._log = directory / "output.log"
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-file", str(ready)],
                stdout=log,
                stderr=log,
                cwd=tree,
                env=environment(directory, tree),
            )
        try:
            while not ready.exists():
                if self.process.poll() is not None or time.perf_counter() - began > PATIENCE:
                    raise Failed(f"{' '.join(command[:4])} did not get ready:\n{self._log.read_text()[-3000:]}")
                time.sleep(LOOK)
        except BaseException:
            self.kill()
            raise
        self.seconds_to_ready = time.perf_counter() - began
        self.cpu_to_ready = _cpu(self.process.pid)
        """Seconds of CPU of the process alone, without its children."""
        self.told: dict[str, Any] = json.loads(ready.read_text())

    @property
    def address(self) -> Address:
        host, _, port = str(self.told["url"]).partition("://")[2].rpartition(":")
        return host, int(port)

    def cpu(self) -> float:
        """Seconds of CPU so far, in user and system mode, of the process and its children."""
        return sum(_cpu(pid) for pid in _family(self.process.pid))

    def memory(self) -> Memory:
        resident = anonymous = 0
        for pid in _family(self.process.pid):
            fields = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
            )
            resident += int(fields["VmRSS"].split()[0]) * 1024
            anonymous += int(fields["RssAnon"].split()[0]) * 1024
        return Memory(resident, anonymous)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """SIGTERM, and wait; Failed if it does not end orderly."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed("a process did not end on SIGTERM") from None
        if code != 0:
            raise Failed(f"a process ended with {code}:\n{self._log.read_text()[-3000:]}")


def environment(home: Path, tree: Path) -> dict[str, str]:
    """Return the variables of a process: ours, a home of its own, the source of a tree, and byte code that is kept.

    Without byte code each start would compile all modules again.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join([str(tree / "src"), str(tree)])}


@contextlib.contextmanager
def running(process: Started) -> Iterator[Started]:
    """Ends the process in every case."""
    try:
        yield process
    finally:
        process.kill()


def module(name: str, *arguments: str) -> list[str]:
    """The command of a module of ours."""
    return [sys.executable, "-m", name, *arguments]


def script(name: str, *arguments: str) -> list[str]:
    """The command of an installed script."""
    return [str(_SCRIPTS / name), *arguments]


def tell_ready(path: Path, told: dict[str, Any]) -> None:
    """For our own processes: write the ready file, whole or not at all."""
    written = path.with_suffix(".new")
    written.write_text(json.dumps(told))
    written.rename(path)


async def serve_until_ended(server: asyncio.Server, ready_file: Path) -> None:
    """For our own processes: say where the server listens, and return on SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    tell_ready(ready_file, {"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
    await ended.wait()


def _family(pid: int) -> list[int]:
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in thread.read_text().split():
                found += _family(int(child))
    return found


def _cpu(pid: int) -> float:
    """Return the seconds of CPU of a process and all its threads, those that have ended included."""
    try:
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0
