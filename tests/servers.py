"""A real server process for tests: `interlock serve` on a free port and a data directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import httpx2
from conductorone_sdk import SDK
from conductorone_sdk.models import shared

from tests.loops import REPORT_VARIABLE

PATIENCE = 30.0
"""Seconds until a wait gives up, so that a broken test fails instead of hanging. No test passes by it."""
LOOK = 0.005
ROOT = Path(__file__).resolve().parent.parent
_PLAIN = ssl.create_default_context()
"""Made once: a client makes one even for plain HTTP, and that takes longer than many a test."""


class _Transport(httpx2.AsyncHTTPTransport):
    """A connection that the server's end cuts before it is used has failed; anyio asks its socket, which is gone."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            if error.name != "getpeername":
                raise
            raise httpx2.ConnectError("the connection was cut", request=request) from error


def http_client(url: str = "", headers: Mapping[str, str] | None = None, **options: Any) -> httpx2.AsyncClient:
    """A client for a server that may be killed at any moment, which is an `httpx2.TransportError`."""
    return httpx2.AsyncClient(
        base_url=url, headers=headers, transport=_Transport(verify=_PLAIN), timeout=PATIENCE, **options
    )


@dataclass
class ServerProcess:
    """One data directory, and the process that serves it at the moment.

    async with ServerProcess(tmp_path, egress=[f"127.0.0.1:{receiver.port}"]) as server: ...
    """

    directory: Path
    egress: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    within: list[str] = field(default_factory=list)
    """The command that runs the server, such as `unshare …`."""
    process: asyncio.subprocess.Process | None = None
    url: str = ""
    client_id: str = ""
    client_secret: str = ""
    listen: str = "127.0.0.1:0"
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            await client.aclose()
        if self.process is not None:
            await self.kill()
        if kind is None and self.slow_callbacks.exists():
            raise AssertionError(self.slow_callbacks.read_text())

    @property
    def slow_callbacks(self) -> Path:
        """Where the process reports callbacks of its event loop that took too much CPU time."""
        return self.directory / "slow-callbacks.txt"

    async def start(self) -> None:
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["serve", "--listen", self.listen, "--ready-file", str(ready)]
        arguments += ["--data-dir", str(self.directory / "data")]
        for entry in self.egress:
            arguments += ["--allow-egress", entry]
        log = (self.directory / "server.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *self.within,
            sys.executable,
            "-m",
            "tests.measured",
            *arguments,
            *self.options,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "HOME": str(self.directory), REPORT_VARIABLE: str(self.slow_callbacks)},
        )
        log.close()
        async with asyncio.timeout(PATIENCE):
            while not ready.exists():
                if self.process.returncode is not None:
                    raise AssertionError((self.directory / "server.log").read_text())
                await asyncio.sleep(LOOK)
        told = json.loads(ready.read_text())
        self.url = told["url"]
        # Started again, it has to be found at the same place.
        self.listen = self.url.partition("://")[2]
        if told.get("client_secret"):
            self.client_id, self.client_secret = told["client_id"], told["client_secret"]

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, and wait; returns the exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
        self.process = None
        return code

    def cpu_seconds(self) -> float:
        """CPU time of the server so far, in user and system mode."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def token(self) -> str:
        """An access token, by secret."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        async with http_client() as http:
            answer = await http.post(f"{self.url}/auth/v1/token", data=form)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token

    async def sdk(self) -> SDK:
        """The official client, as its README sets it up."""
        token = await self.token()
        # The SDK never closes a client of its own making.
        client = httpx.AsyncClient()
        self.clients.append(client)
        return SDK(async_client=client, server_url=self.url, security=shared.Security(bearer_auth=token, oauth=token))

    async def api(self) -> httpx2.AsyncClient:
        """A plain client with a token, for what the SDK cannot say. To be closed by the caller."""
        return http_client(self.url, {"Authorization": f"Bearer {await self.token()}"})


async def state_of(sdk: SDK, execution: int) -> tuple[str, Any]:
    """The state of a run as the SDK shows it, without its prefix, and the run itself."""
    found = await sdk.automation_execution.get_automation_execution_async(request={"id": execution})
    assert found.get_automation_execution_response is not None
    run = found.get_automation_execution_response.automation_execution
    assert run is not None
    assert run.state is not None
    return str(getattr(run.state, "value", run.state)).removeprefix("AUTOMATION_EXECUTION_STATE_"), run


async def until_state(sdk: SDK, execution: int, *states: str) -> Any:
    """Look again until the run is in one of the states; returns the run."""
    async with asyncio.timeout(PATIENCE):
        while True:
            state, run = await state_of(sdk, execution)
            if state in states:
                return run
            await asyncio.sleep(LOOK)
