"""Ctrl-C and SIGTERM while a command waits or asks: the exit code of the signal, and what goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import AWAY, Server, ok, stream

INTERLOCK = Path(sys.executable).with_name("interlock")
PATIENCE_SECONDS = 60.0
"""Until a wait gives up, so that a broken test fails instead of hanging. No test passes by it."""
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
RUNNING = {"id": "7", "state": "AUTOMATION_EXECUTION_STATE_WAITING"}
ORDER = {"bulkTermination": {"id": "t1", "state": "RUNNING", "total": 2, "accepted": 1}}
PLAN = {"id": "t1", "total": 2, "states": [], "executions": []}
TERMINATE = "/api/v1/automation_executions/7/actions/terminate"


@dataclass
class Command:
    """A command as a process, and what it has said on stderr so far."""

    process: subprocess.Popen[bytes]
    said: bytes = b""

    def until(self, text: str) -> None:
        """Read stderr until this was said."""
        assert self.process.stderr is not None
        alarm = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        alarm.start()
        try:
            while text.encode() not in self.said:
                more = os.read(self.process.stderr.fileno(), 65_536)
                assert more, self.said
                self.said += more
        finally:
            alarm.cancel()

    def end(self, number: int) -> tuple[int, str]:
        """Send the signal; returns the exit code, and all that was said on stderr."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, (self.said + rest).decode()


def started(server: Server, *arguments: str, stdin: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE) -> Command:
    environ = {
        **os.environ,
        "CONDUCTORONE_CLIENT_ID": "calm-otter@127.0.0.1/spc",
        "CONDUCTORONE_CLIENT_SECRET": server.secret,
        "CONDUCTORONE_SERVER_URL": server.url,
    }
    return Command(
        subprocess.Popen([INTERLOCK, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environ)
    )


@pytest.fixture
def asked(server: Server) -> threading.Event:
    """Set when the server has been asked for what the command then waits for."""
    event = threading.Event()
    server.on("GET", "/api/v1/automations/a1", ok({"automation": {"id": "a1", "displayName": "Offboard"}}))
    server.on("POST", "/api/v1/automations/a1/execute", ok({"executionId": "7"}))
    server.on("GET", "/api/v1/automation_executions/7", ok({"automationExecution": RUNNING}))
    server.on("POST", "/interlock/v1/bulkTerminations/plan", ok(PLAN))
    server.on("POST", "/interlock/v1/bulkTerminations", ok(ORDER))

    def waiting(_: object) -> tuple[int, dict[str, str], str]:
        event.set()
        status, headers, body = stream((1, "WAITING"), held=True)
        assert isinstance(body, str)
        return status, headers, body

    def order(_: object) -> tuple[int, dict[str, str], dict[str, object]]:
        event.set()
        return 200, {}, dict(ORDER)

    server.on("GET", "/interlock/v1/executions/7/events", waiting)
    server.on("GET", "/interlock/v1/bulkTerminations/t1", order)
    server.on("POST", TERMINATE, ok(Interlock_Termination="accepted; state=STOPPING"))
    return event


WAITING = [
    (["executions", "watch", "7"], ["executions watch 7", "executions terminate 7"]),
    (["automations", "run", "a1", "--wait", "600"], ["executions watch 7", "executions terminate 7"]),
    (["executions", "terminate", "7", "--wait", "600"], ["accepted for 7"]),
    (["bulk-terminations", "watch", "t1"], ["bulk-terminations watch t1", "bulk-terminations abort t1"]),
    (
        ["executions", "terminate", "--all", "--wait", "600"],
        ["bulk-terminations watch t1", "bulk-terminations abort t1"],
    ),
]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize(("arguments", "hints"), WAITING, ids=lambda value: " ".join(value) if value else "")
def test_a_command_that_waits_says_what_goes_on(
    arguments: list[str], hints: list[str], number: int, code: int, server: Server, asked: threading.Event
) -> None:
    command = started(server, *arguments)
    assert asked.wait(PATIENCE_SECONDS)
    ended, said = command.end(number)
    assert ended == code
    assert "Aborted" not in said
    assert "Traceback" not in said
    for hint in hints:
        assert hint in said


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_terminate_that_keeps_trying_says_that_nothing_was_terminated(
    number: int, code: int, server: Server, asked: threading.Event
) -> None:
    server.on("POST", TERMINATE, AWAY)
    command = started(server, "executions", "terminate", "7")
    command.until("Retrying in")
    ended, said = command.end(number)
    assert ended == code
    assert "Execution 7 has possibly not been terminated" in said
    assert "interlock executions terminate 7" in said


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["automations", "delete", "a1"],
        ["executions", "terminate", "7"],
        ["executions", "terminate", "--all"],
        ["clients", "revoke", "a@b/spc"],
        ["tenants", "revoke", "acme"],
        ["settings", "set", "--disable-automations"],
    ],
    ids=" ".join,
)
def test_a_question_that_is_interrupted_changes_nothing(
    arguments: list[str], number: int, code: int, server: Server, asked: threading.Event
) -> None:
    ours, theirs = pty.openpty()
    try:
        command = started(server, *arguments, stdin=theirs, stderr=theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 65_536)
        with command.process:
            command.process.send_signal(number)
            assert command.process.wait(PATIENCE_SECONDS) == code
        os.close(theirs)
        with suppress(OSError):
            while more := os.read(ours, 65_536):
                said += more
        assert b"Nothing was changed" in said
        assert b"Aborted" not in said
    finally:
        os.close(ours)
    changing = [call.path for call in server.calls if call.method != "GET"]
    assert [path for path in changing if not path.endswith(("/token", "/plan"))] == []
