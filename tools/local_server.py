"""A server for this checkout: `up` starts it and says how to use it, `down` stops it.

    python tools/local_server.py up|down

It runs in the background, keeps its data and its log in .interlock, and listens on 127.0.0.1:8080; INTERLOCK_DATA_DIR
and INTERLOCK_LISTEN say otherwise. A new server is given the automations of examples/. `up` on a running server only
says how to use it.
"""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from interlock.cli.failures import Failure
from interlock.cli.profile import read_profile
from interlock.settings import DEFAULT_GRACE

ROOT = Path(__file__).resolve().parent.parent
INTERLOCK = Path(sys.executable).parent / "interlock"
DEFAULT_DATA_DIR = ".interlock"
START_LIMIT = 60.0
"""Seconds within which a server has to be ready."""
STOP_LIMIT = 30.0
"""Seconds within which a server has to have stopped after SIGTERM, beyond the grace period of its attempts."""
PROGRESS = 3.0
"""Seconds between two lines that say what is being waited for."""
LOOK = 0.05
"""Seconds between two looks at a process."""


def up(data_dir: Path, listen: str, home: Path) -> int:
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    profile = data_dir / "profile.json"
    first_start = not profile.exists()
    known = process_of(data_dir)
    if known is not None and not answers(data_dir):
        said = f"Process {known} has this data directory and does not answer: it is starting or stopping. Waiting …"
        settled = wait_for(lambda: answers(data_dir) or process_of(data_dir) is None, START_LIMIT, said, print)
        if not settled:
            print(f"The server (process {known}) does not answer. See {shown(data_dir)}/server.log", file=sys.stderr)
            return 1
    if running(data_dir) is None:
        log = data_dir / "server.log"
        process = start(data_dir, listen, log)
        (data_dir / "server.pid").write_text(f"{process.pid}\n")
        if not wait_ready(process, data_dir / "ready.json"):
            print(f"The server did not start. The end of {shown(log)}:\n", file=sys.stderr)
            print("\n".join(log.read_text(errors="replace").splitlines()[-20:]), file=sys.stderr)
            print("\nIf the port is taken, choose another: make up INTERLOCK_LISTEN=127.0.0.1:8081", file=sys.stderr)
            return 1
    if first_start and not apply_examples(profile):
        return 1
    try:
        known_profile = read_profile(profile)
    except Failure as failure:
        print(f"The server runs, but {failure.message}.\n{failure.hint}", file=sys.stderr)
        return 1
    note = point_home_at(profile, home)
    print(how_to_use(asdict(known_profile), data_dir))
    if note:
        print(note)
    return 0


def down(data_dir: Path, say: Callable[[str], None] = print) -> int:
    """Stop the server, and return when its process has ended: until then it may still finish attempts."""
    pid = process_of(data_dir)
    if pid is None:
        say("No server of this checkout is running.")
        return 0
    os.kill(pid, signal.SIGTERM)
    limit = STOP_LIMIT + grace()
    said = f"The server (process {pid}) is stopping; attempts in flight have {grace():g} s to finish. Waiting …"
    if not wait_for(lambda: process_of(data_dir) != pid, limit, said, say):
        print(
            f"The server (process {pid}) is still running after {limit:g} s. See {shown(data_dir)}/server.log; "
            f"end it at once, without loss of what it has committed: kill -9 {pid}",
            file=sys.stderr,
        )
        return 1
    (data_dir / "server.pid").unlink(missing_ok=True)
    say("Stopped. What it knows is on disk; `make up` goes on from there.")
    return 0


def grace() -> float:
    """Seconds that a server started from this environment gives its attempts at an orderly stop."""
    try:
        return float(os.environ.get("INTERLOCK_GRACE") or DEFAULT_GRACE)
    except ValueError:
        return DEFAULT_GRACE


def wait_for(over: Callable[[], bool], limit: float, said: str, say: Callable[[str], None]) -> bool:
    """Wait until something is over, and say now and then what is waited for; False after `limit` seconds."""
    start_ = time.monotonic()
    told = 0
    while not over():
        passed = time.monotonic() - start_
        if passed > limit:
            return False
        if passed >= told * PROGRESS:
            say(said if not told else f"… {passed:.0f} s")
            told += 1
        time.sleep(LOOK)
    return True


def start(data_dir: Path, listen: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a server that outlives this script: its own session, and no pipe that another process waits on."""
    ready = data_dir / "ready.json"
    ready.unlink(missing_ok=True)
    command = [str(INTERLOCK), "serve", "--data-dir", str(data_dir), "--listen", listen]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        return subprocess.Popen(
            [*command, "--ready-file", str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def apply_examples(profile: Path) -> bool:
    """Give a new server something to look at; a person who deletes it is not given it again."""
    files = sorted(str(file) for file in (ROOT / "examples").glob("*.json"))
    command = [str(INTERLOCK), "--profile", str(profile), "automations", "apply", *files]
    applied = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if applied.returncode != 0:
        print("The server runs, but the examples could not be applied.", file=sys.stderr)
    return applied.returncode == 0


def wait_ready(process: subprocess.Popen[bytes], ready: Path) -> bool:
    end = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < end:
        if ready.exists():
            return True
        time.sleep(0.02)
    if process.poll() is None:
        process.terminate()
    return False


def running(data_dir: Path) -> int | None:
    """The process id of the server of this data directory, if it answers."""
    pid = process_of(data_dir)
    return pid if pid is not None and answers(data_dir) else None


def process_of(data_dir: Path) -> int | None:
    """The process id of the server of this data directory, as long as the process lives, answering or not.

    A number alone proves nothing: after a crash it may belong to another program, so the command line has to fit.
    """
    try:
        pid = int((data_dir / "server.pid").read_text())
        command = command_of(pid)
    except (OSError, ValueError):
        return None
    return pid if "serve" in command and str(data_dir) in command else None


def command_of(pid: int) -> list[str]:
    """The arguments of a living process; none of one that has ended, or only waits to be collected."""
    if Path("/proc/self/stat").exists():
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        found = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return [] if state in "ZX" else found
    listed = subprocess.run(["ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, command = listed.stdout.strip().partition(" ")
    return [] if state.startswith("Z") else command.split()


def answers(data_dir: Path) -> bool:
    """Whether the server of this data directory answers."""
    try:
        url = json.loads((data_dir / "ready.json").read_text())["url"]
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return False


def point_home_at(profile: Path, home: Path) -> str:
    """Link the user's profile to this server's, unless a file of the user's own is there; returns what to say then."""
    link = home / "interlock" / "profile.json"
    if link.exists() and not link.is_symlink():
        return f"{link} is a file of yours and stays as it is; use: interlock --profile {shown(profile)}"
    link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    link.unlink(missing_ok=True)
    link.symlink_to(profile.resolve())
    return ""


def how_to_use(profile: Mapping[str, str], data_dir: Path) -> str:
    interlock = shown(INTERLOCK)
    stop = "make down"
    if data_dir != ROOT / DEFAULT_DATA_DIR:
        stop += f" INTERLOCK_DATA_DIR={shlex.quote(shown(data_dir))}"
    return "\n".join(
        [
            f"Interlock is running at {profile['url']} (data and log: {shown(data_dir)}; stop it: {stop})",
            "",
            f"export CONDUCTORONE_SERVER_URL={shlex.quote(profile['url'])}",
            f"export CONDUCTORONE_CLIENT_ID={shlex.quote(profile['client_id'])}",
            f"export CONDUCTORONE_CLIENT_SECRET={shlex.quote(profile['client_secret'])}",
            "",
            "Try next:",
            f"  {interlock} automations list",
            f"  {interlock} automations run Hello --wait 10",
            f"  {interlock} automations run 'Two-week wait'",
            f"  {interlock} executions terminate $({interlock} executions list --state WAITING -o ids) --reason trying",
        ]
    )


def shown(path: Path) -> str:
    """A path as a person in the checkout would write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main(arguments: list[str]) -> int:
    data_dir = ROOT / (os.environ.get("INTERLOCK_DATA_DIR") or DEFAULT_DATA_DIR)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if arguments == ["up"]:
        return up(data_dir, os.environ.get("INTERLOCK_LISTEN") or "127.0.0.1:8080", home)
    if arguments == ["down"]:
        return down(data_dir)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nInterrupted. See how it stands: make up; stop it: make down", file=sys.stderr)
        sys.exit(130)
