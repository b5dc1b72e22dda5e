"""Drives an installed Interlock from outside, by its own command line alone.

    python tools/smoke.py INTERLOCK WORK_DIR

Starts a server on a free port, gets a token, makes two automations, runs one to DONE, terminates the other while it
waits, and stops the server with SIGTERM. Needs nothing but the standard library; anything unexpected is a failure.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LIMIT = 60.0
"""Seconds that one step of the smoke run may take."""


class Smoke:
    """One smoke run: the command, and the environment it is called with."""

    def __init__(self, interlock: str, work: Path) -> None:
        self.interlock = interlock
        self.data_dir = work / "data"
        # Nothing of the caller's may leak in, so that what is tested is what was installed.
        self.environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(work)}

    def command(self, *arguments: str, expect: int = 0) -> str:
        environ = {**self.environ, "INTERLOCK_DATA_DIR": str(self.data_dir)}
        done = subprocess.run(
            [self.interlock, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environ,
            cwd=self.environ["HOME"],
            timeout=LIMIT,
        )
        if done.returncode != expect:
            said = f"{done.stdout}{done.stderr}".strip()
            raise SystemExit(f"smoke: `interlock {' '.join(arguments)}` gave {done.returncode}, not {expect}: {said}")
        return done.stdout

    def rows(self, *arguments: str, expect: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.command(*arguments, expect=expect).splitlines()]

    def serve(self) -> subprocess.Popen[bytes]:
        ready = self.data_dir.with_name("ready.json")
        arguments = ["serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready), "--data-dir", str(self.data_dir)]
        process = subprocess.Popen([self.interlock, *arguments], env=self.environ, cwd=self.environ["HOME"])
        end = time.monotonic() + LIMIT
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise SystemExit(f"smoke: the server was not ready (exit code {process.poll()})")
            time.sleep(0.02)
        mode = ready.stat().st_mode & 0o777
        if mode != 0o600:
            raise SystemExit(f"smoke: the ready file holds a secret and has mode {mode:o}")
        return process

    def drive(self) -> None:
        if not self.command("token").strip():
            raise SystemExit("smoke: an empty token")
        files = [str(EXAMPLES / name) for name in ("hello.json", "two-week-wait.json")]
        applied = self.rows("automations", "apply", *files)
        check([row["result"] for row in applied], ["created", "created"])
        [ended] = self.rows("automations", "run", "Hello", "--context", '{"name": "smoke"}', "--wait", "30")
        check(ended["state"], "AUTOMATION_EXECUTION_STATE_DONE")
        [started] = self.rows("automations", "run", "Two-week wait")
        ident = started["executionId"]
        [stopped] = self.rows("executions", "terminate", ident, "--reason", "smoke run", "--wait", "30")
        check((stopped["result"], stopped["state"]), ("accepted", "TERMINATE"))
        [seen] = self.rows("executions", "get", ident)
        check((seen["state"], bool(seen.get("completedAt"))), ("AUTOMATION_EXECUTION_STATE_TERMINATE", True))
        self.command("executions", "get", "839265", expect=3)

    def read(self) -> None:
        """What is packed beside the code has to be in the package."""
        url = json.loads(self.data_dir.with_name("ready.json").read_text())["url"]
        for path, begins in (
            ("/openapi.json", b"{"),
            ("/docs", b"<!doctype html>"),
            ("/docs/llms.txt", b"# Interlock"),
        ):
            with urllib.request.urlopen(url + path, timeout=LIMIT) as reply:
                check(reply.read(len(begins)), begins)


def check(actual: object, expected: object) -> None:
    if actual != expected:
        raise SystemExit(f"smoke: {actual!r} where {expected!r} was expected")


def main(interlock: str, work: Path) -> None:
    smoke = Smoke(interlock, work)
    print(smoke.command("--version").strip())
    server = smoke.serve()
    try:
        smoke.drive()
        smoke.read()
        server.send_signal(signal.SIGTERM)
        code = server.wait(LIMIT)
        check(code, 0)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    print("smoke run: the installed package serves, runs, terminates and stops in order")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
