"""Runs commands of `interlock` in processes of their own, with standard streams as hostile as asked for.

    python -m tests.hostile.streams_driver < cases.json

Each process is forked from this one, which has loaded the commands already: a table of some hundred starts takes
seconds. Prints the exit code of each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

from interlock.cli.main import cli, main


def load(group: Any) -> None:
    """Import the modules of all commands."""
    for name in group.list_commands(None):
        group.get_command(None, name)


def arrange(streams: dict[str, str], errors: str) -> None:
    """Give this process its three streams: closed, full, a pipe without a reader, or as usual."""
    usual = {0: (os.devnull, os.O_RDONLY), 1: (os.devnull, os.O_WRONLY), 2: (errors, os.O_WRONLY)}
    for descriptor, (path, flags) in usual.items():
        kind = streams.get(str(descriptor), "")
        if kind == "pipe":
            reading, writing = os.pipe()
            os.dup2(writing, descriptor)
            os.close(writing)
            os.close(reading)
            continue
        os.close(descriptor)
        if kind != "closed":
            os.dup2(os.open("/dev/full" if kind == "full" else path, flags | os.O_CREAT), descriptor)
    # As the interpreter does at its start.
    names = ("stdin", "stdout", "stderr")
    for descriptor, name in enumerate(names):
        closed = streams.get(str(descriptor)) == "closed"
        stream = None if closed else os.fdopen(descriptor, "w" if descriptor else "r", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def run(case: dict[str, Any]) -> int:
    """Run one command to its end, in this process."""
    arrange(case["streams"], case["errors"])
    sys.argv = ["interlock", *case["arguments"]]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except Exception:  # noqa: BLE001  # what the interpreter would do: show it, and fail
        traceback.print_exc()
        return 99
    return 0


def started(case: dict[str, Any]) -> int:
    """The exit code of a command in a process of its own."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = run(case)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    load(cli)
    given = json.load(sys.stdin)
    codes = [started(case) for case in given]
    json.dump(codes, sys.stdout)
