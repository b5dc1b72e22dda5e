"""A small real HTTP server with as much of the API as a client command needs, and a command line to call it with."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from interlock.cli.main import cli
from interlock.cli.session import Session

Answer = tuple[int, dict[str, str], dict[str, Any] | str]
Responder = Callable[[dict[str, Any]], Answer]


def ok(body: dict[str, Any] | None = None, **headers: str) -> Answer:
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body or {}


def refusal(status: int, message: str) -> Answer:
    return status, {}, {"code": 0, "message": message}


def stream(*events: tuple[int, str], held: bool = False, media_type: str = "text/event-stream") -> Answer:
    """Changes of execution 7 as (event id, state); then the end, or silence if it is `held` open."""
    told = ({"executionId": "7", "state": state, "updatedAt": f"2026-01-02T03:04:{id_:02}Z"} for id_, state in events)
    text = "".join(
        f"id: {e[0]}\nevent: execution\ndata: {json.dumps(d)}\n\n" for e, d in zip(events, told, strict=True)
    )
    return 200, {"Content-Type": media_type, **({"Held": "yes"} if held else {})}, f"retry: 1000\n\n{text}"


AWAY: Answer = (0, {}, {})
"""The connection is closed without an answer, as by a server that has gone away."""


@dataclass
class Call:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """The stand-in: answers by method and path, in the order they were given; the last answer stays."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Answer | Responder]] = field(default_factory=dict)
    secret: str = "s3cret"
    token: str = "t0ken"
    ending: threading.Event = field(default_factory=threading.Event)

    def on(self, method: str, path: str, *answers: Answer | Responder) -> None:
        self.answers[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Call]:
        return [call for call in self.calls if (call.method, call.path) == (method, path)]

    def answer(self, call: Call) -> Answer:
        if call.path == "/auth/v1/token" and (call.method, call.path) not in self.answers:
            if call.body.get("client_secret") != [self.secret]:
                return 401, {}, {"error": "invalid_client", "error_description": "unknown client or wrong secret"}
            return ok({"access_token": self.token, "token_type": "Bearer", "expires_in": 3600})
        if call.path != "/auth/v1/token" and call.headers.get("authorization") != f"Bearer {self.token}":
            return refusal(401, "a valid bearer token is required")
        left = self.answers.get((call.method, call.path))
        if not left:
            return refusal(404, "not found")
        chosen = left.pop(0) if len(left) > 1 else left[0]
        return chosen(call.body) if callable(chosen) else chosen


@pytest.fixture
def server() -> Iterator[Server]:
    stand_in = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = (
            -1
        )  # head and body in one write: two would wait for each other (Nagle against delayed acknowledgement)

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = self.headers.get("Content-Type") == "application/x-www-form-urlencoded"
            body: dict[str, Any] = dict(parse_qs(raw)) if form else json.loads(raw or "{}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, parts.path, parse_qs(parts.query), headers, body)
            stand_in.calls.append(call)
            status, extra, reply = stand_in.answer(call)
            if not status:
                self.close_connection = True
                return
            data = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            held = "Held" in extra
            length = {"Connection": "close"} if held else {"Content-Length": str(len(data))}
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **extra, **length}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
            if held:
                stand_in.ending.wait()

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815  # names that BaseHTTPRequestHandler looks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        stand_in.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stand_in
        stand_in.ending.set()
        listening.shutdown()
        thread.join()


@dataclass
class StoppedClock:
    """Time passes only by sleeping, and then at once."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.on_sleep()

    def wall(self) -> int:
        return 1_760_000_000_000_000 + int(self.now * 1_000_000)


@dataclass
class CommandLine:
    """Calls `interlock` as a program would (`terminal` and `interactive` false), or as a person."""

    environ: dict[str, str]
    clock: StoppedClock = field(default_factory=StoppedClock)

    def __call__(
        self, *arguments: str, person: bool = False, stdin: str | None = None, environ: dict[str, str] | None = None
    ) -> Result:
        session = Session(
            environ=self.environ if environ is None else environ,
            clock=self.clock,
            terminal=person,
            interactive=person,
        )
        return CliRunner().invoke(cli, arguments, obj=session, input=stdin, prog_name="interlock")


@pytest.fixture
def interlock(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(
        {
            "CONDUCTORONE_CLIENT_ID": "calm-otter@127.0.0.1/spc",
            "CONDUCTORONE_CLIENT_SECRET": server.secret,
            "CONDUCTORONE_SERVER_URL": server.url,
        }
    )


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]
