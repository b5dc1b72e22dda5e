"""`interlock executions watch`, against a real server: told of every state, over a restart, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import httpx2
import pytest

from tests.e2e.given import WAIT, automation, call, execute, terminate, webhook
from tests.receivers import Held, Receiver
from tests.servers import PATIENCE, ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def watching(server: ServerProcess, execution: int, *options: str) -> Process:
    environ = {
        "CONDUCTORONE_CLIENT_ID": server.client_id,
        "CONDUCTORONE_CLIENT_SECRET": server.client_secret,
        "CONDUCTORONE_SERVER_URL": server.url,
    }
    command = [str(Path(sys.executable).with_name("interlock")), "executions", "watch", str(execution), *options]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env={**os.environ, **environ})


async def told(watch: Process) -> str:
    """The state in the next line."""
    assert watch.stdout is not None
    async with asyncio.timeout(PATIENCE):
        line = await watch.stdout.readline()
    state: str = json.loads(line)["state"]
    return state.removeprefix("AUTOMATION_EXECUTION_STATE_")


async def ended(watch: Process) -> tuple[int | None, str, str]:
    """How it ended, and what it had still to say."""
    async with asyncio.timeout(PATIENCE):
        out, err = await watch.communicate()
    return watch.returncode, out.decode(), err.decode()


async def test_a_line_for_each_state_until_the_run_has_ended(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(Held())
    hook = await webhook(api, receiver)
    execution = await execute(api, await automation(api, "call and rest", call("one", hook), WAIT))
    await receiver.received(1)
    watch = await watching(server, execution)
    assert await told(watch) == "PROCESS_STEP"
    receiver.release()
    assert await told(watch) == "WAITING"
    await terminate(api, execution)
    assert await told(watch) == "TERMINATE"
    assert await ended(watch) == (0, "", "")


async def test_a_run_is_followed_over_a_restart_of_the_server(server: ServerProcess, api: httpx2.AsyncClient) -> None:
    execution = await execute(api, await automation(api, "rest", WAIT))
    watch = await watching(server, execution, "--timeout", f"{PATIENCE:.0f}")
    assert await told(watch) == "WAITING"
    await server.kill()
    await server.start()
    async with await server.api() as again:
        await terminate(again, execution)
    assert await told(watch) == "TERMINATE"
    assert (await ended(watch))[0] == 0


async def test_when_its_time_is_over_it_says_so(server: ServerProcess, api: httpx2.AsyncClient) -> None:
    execution = await execute(api, await automation(api, "rest", WAIT))
    watch = await watching(server, execution, "--timeout", "0.3")
    assert await told(watch) == "WAITING"
    code, out, err = await ended(watch)
    assert (code, out) == (6, "")
    assert "is still WAITING after 0.3 s" in err


async def test_it_ends_by_ctrl_c_and_the_run_goes_on(server: ServerProcess, api: httpx2.AsyncClient) -> None:
    execution = await execute(api, await automation(api, "rest", WAIT))
    watch = await watching(server, execution)
    assert await told(watch) == "WAITING"
    watch.send_signal(signal.SIGINT)
    code, out, err = await ended(watch)
    assert (code, out) == (130, "")
    assert f"Execution {execution} continues" in err
    assert f"interlock executions terminate {execution}" in err
    assert await terminate(api, execution) == "accepted; state=TERMINATE"
