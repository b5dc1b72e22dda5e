"""What an operator can do to a server: start it twice, end it in order, fill its disk."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import httpx2
import pytest

from benchmarks import small_disk
from interlock.store.sqlite import backup
from interlock.store.sqlite.disk import DATABASE
from tests.e2e.given import WAIT, automation, call, detail, execute, terminate, until, webhook
from tests.receivers import Held, Receiver
from tests.servers import LOOK, PATIENCE, ServerProcess, http_client

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def test_a_second_server_on_the_same_directory_says_so_and_ends(server: ServerProcess, tmp_path: Path) -> None:
    second = ServerProcess(tmp_path)
    with pytest.raises(AssertionError, match="another process uses the data directory"):
        await second.start()
    assert second.process is not None
    assert second.process.returncode == 1
    async with http_client() as http:
        assert (await http.get(f"{server.url}/readyz")).json()["status"] == "ready"


async def test_a_server_that_cannot_write_its_ready_file_says_so_and_ends(tmp_path: Path) -> None:
    (tmp_path / "data" / "profile.json").mkdir(parents=True)
    server = ServerProcess(tmp_path)
    with pytest.raises(AssertionError, match="cannot write the profile or the ready file") as failed:
        await server.start()
    assert "Traceback" not in str(failed.value)
    assert server.process is not None
    assert server.process.returncode == 1


async def test_a_server_told_to_end_lets_calls_in_flight_end_and_the_next_one_goes_on(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(Held())
    hook = await webhook(api, receiver)
    execution = await execute(api, await automation(api, "two", call("one", hook), call("two", hook)))
    await receiver.received(1)
    ending = asyncio.ensure_future(server.stop())
    await until_draining(api)
    receiver.release()
    assert await ending == 0
    assert await refuses(server.url)
    assert len(receiver.requests) == 1
    receiver.then(Held())
    await server.start()
    await receiver.received(2)
    receiver.release()
    async with await server.api() as again:
        shown = await until(again, execution, "DONE")
    assert [len(step["attempts"]) for step in shown["steps"]] == [1, 1]


async def test_a_draining_server_still_stops_runs(
    server: ServerProcess, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    receiver.then(Held())
    calling = await automation(api, "calls", call("one", await webhook(api, receiver)))
    waiting = await automation(api, "waits", WAIT)
    in_flight, resting = await execute(api, calling), await execute(api, waiting)
    await receiver.received(1)
    ending = asyncio.ensure_future(server.stop())
    await until_draining(api)
    # A connection of its own: the port is open until the end.
    token = api.headers["authorization"]
    async with http_client(server.url, {"authorization": token}) as late:
        refused = await late.post(f"/api/v1/automations/{waiting}/execute", json={})
        assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, 14, "5")
        assert (await late.get("/healthz")).status_code == 200
        assert (await late.get("/api/v1/automations")).status_code == 200
        assert await terminate(late, resting) == "accepted; state=TERMINATE"
        assert (await detail(late, resting))["state"] == "TERMINATE"
        path = f"/api/v1/automation_executions/{in_flight}/actions/terminate"
        held = await late.post(path, headers={"Prefer": "wait=30"})
        assert held.headers["interlock-termination"] == "accepted; state=TERMINATE"
    # Nothing is in flight any more, so the drain is over.
    assert await ending == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_a_draining_server_at_once(
    tmp_path: Path, receiver: Receiver, second: signal.Signals
) -> None:
    receiver.then(Held())
    egress, options = [f"127.0.0.1:{receiver.port}"], ["--grace", "3600"]
    async with ServerProcess(tmp_path, egress=egress, options=options) as server, await server.api() as api:
        execution = await execute(api, await automation(api, "calls", call("one", await webhook(api, receiver))))
        await receiver.received(1)
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        await until_draining(api)
        # It ends long before its grace is over, and the run is settled by the next start.
        assert await server._end(second) in {0, 1}
        await server.start()
        async with await server.api() as again:
            await terminate(again, execution)
            await until(again, execution, "TERMINATE")


async def until_draining(api: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE):
        while "draining" not in (await api.get("/readyz")).json()["reasons"]:
            await asyncio.sleep(LOOK)


async def test_idle_connections_keep_no_caller_out_where_few_files_may_be_open(tmp_path: Path) -> None:
    within = ["sh", "-c", 'ulimit -n 640 && exec "$@"', "sh"]
    async with ServerProcess(tmp_path, within=within) as server, http_client() as http:
        host, _, port = server.url.partition("://")[2].rpartition(":")
        lines = [await asyncio.open_connection(host, int(port)) for _ in range(800)]
        assert (await http.get(f"{server.url}/healthz")).status_code == 200
        closed = 0
        for reader, writer in lines:
            closed += reader.at_eof() or writer.is_closing() or reader.exception() is not None
            writer.close()
        assert closed >= 640


async def refuses(url: str) -> bool:
    """Whether the port takes no more connections."""
    try:
        async with http_client() as http:
            await http.get(f"{url}/healthz")
    except httpx2.TransportError:
        return True
    return False


async def test_the_soft_limit_on_open_files_does_not_limit_the_connections(tmp_path: Path) -> None:
    within = ["sh", "-c", 'ulimit -S -n 256 && exec "$@"', "sh"]
    async with ServerProcess(tmp_path, within=within) as server, http_client() as http:
        host, _, port = server.url.partition("://")[2].rpartition(":")
        lines = [await asyncio.open_connection(host, int(port)) for _ in range(300)]
        assert (await http.get(f"{server.url}/readyz")).json()["status"] == "ready"
        for _, writer in lines:
            writer.close()
            await writer.wait_closed()


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def small(tmp_path: Path, receiver: Receiver) -> AsyncIterator[ServerProcess]:
    within, egress = small_disk.within(tmp_path / "data"), [f"127.0.0.1:{receiver.port}"]
    async with ServerProcess(tmp_path, egress=egress, within=within) as server:
        yield server


def filler(server: ServerProcess) -> Path:
    assert server.process is not None
    return small_disk.filler(server.process.pid, server.directory / "data")


async def test_on_a_full_disk_runs_are_stopped_and_recorded_and_none_is_started_until_there_is_room(
    small: ServerProcess, receiver: Receiver
) -> None:
    receiver.then(Held())
    async with await small.api() as api:
        resting = await automation(api, "rest", WAIT)
        calling = await automation(api, "call", call("one", await webhook(api, receiver)))
        waiting = [await execute(api, resting) for _ in range(3)]
        in_flight = await execute(api, calling)
        await receiver.received(1)
        small_disk.fill(filler(small))
        path = f"/api/v1/automations/{resting}/execute"
        async with asyncio.timeout(PATIENCE):
            while (refused := await api.post(path, json={})).status_code == 200:
                waiting.append(int(refused.json()["executionId"]))
        assert (refused.status_code, refused.json()["code"]) == (503, 14)
        assert int(refused.headers["retry-after"]) >= 1
        health = await api.get("/readyz")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")

        assert [await terminate(api, execution) for execution in waiting] == [
            "accepted; state=TERMINATE" for _ in waiting
        ]
        receiver.release()
        assert (await until(api, in_flight, "DONE"))["steps"][0]["outcome"] == "SUCCEEDED"

        filler(small).unlink()
        async with asyncio.timeout(PATIENCE):
            while (await api.get("/readyz")).json()["status"] != "ready":
                await asyncio.sleep(LOOK)
        started = await execute(api, resting)
        assert (await detail(api, started))["state"] == "WAITING"


async def test_on_a_full_disk_there_is_room_for_many_stops(small: ServerProcess) -> None:
    async with await small.api() as api:
        resting = await automation(api, "rest", WAIT)
        waiting = [await execute(api, resting) for _ in range(600)]
        small_disk.fill(filler(small))
        path = f"/api/v1/automations/{resting}/execute"
        async with asyncio.timeout(PATIENCE):
            while (await api.post(path, json={})).status_code == 200:
                pass
        verdicts = [await terminate(api, execution) for execution in waiting]
        assert verdicts == ["accepted; state=TERMINATE" for _ in waiting]
        assert (await detail(api, waiting[0]))["state"] == "TERMINATE"


async def test_neighbour_that_fills_the_disk_takes_no_room_from_stops(small: ServerProcess) -> None:
    """All room is taken again as soon as there is any: what the stops need is in the server's own files."""
    async with await small.api() as api:
        resting = await automation(api, "rest", WAIT)
        waiting = [await execute(api, resting) for _ in range(300)]
        path = f"/api/v1/automations/{resting}/execute"
        with small_disk.Neighbour(filler(small)):
            async with asyncio.timeout(PATIENCE):
                while (await api.post(path, json={})).status_code == 200:
                    pass
            verdicts = [await terminate(api, execution) for execution in waiting]
            assert verdicts == ["accepted; state=TERMINATE" for _ in waiting]
            # Further terminations need a token, and refusals are audited.
            assert await small.token()
            assert (await api.post(f"/api/v1/automation_executions/{1 << 50}/actions/terminate")).status_code == 404
            assert (await api.get("/readyz")).json()["status"] == "degraded"
            found = as_a_crash_would_leave_it(small, "SELECT id FROM executions WHERE state = 'TERMINATE'")
            assert set(waiting) <= set(found)


def as_a_crash_would_leave_it(server: ServerProcess, query: str) -> list[Any]:
    """What the files hold at a moment, without what the process has in its memory."""
    assert server.process is not None
    data, copy = filler(server).parent, server.directory / "copy"
    copy.mkdir()
    server.process.send_signal(signal.SIGSTOP)
    for file in (DATABASE, f"{DATABASE}-wal"):
        shutil.copyfile(data / file, copy / file)
    server.process.send_signal(signal.SIGCONT)
    with closing(apsw.Connection(str(copy / DATABASE))) as connection:
        return [row[0] for row in connection.execute(query)]


async def test_a_restored_server_is_frozen_and_can_still_stop_runs(tmp_path: Path, receiver: Receiver) -> None:
    receiver.then(Held())
    egress, file = [f"127.0.0.1:{receiver.port}"], tmp_path / "monday.db"
    first, second = ServerProcess(tmp_path / "first", egress), ServerProcess(tmp_path / "second", egress)
    for server in (first, second):
        server.directory.mkdir()
    async with first, await first.api() as api:
        made = await automation(api, "call", call("call", await webhook(api, receiver)))
        in_flight = await execute(api, made)
        await receiver.received(1)
        await asyncio.to_thread(backup.create, first.directory / "data", file)
        second.client_id, second.client_secret = first.client_id, first.client_secret
    await asyncio.to_thread(backup.restore, file, second.directory / "data", time.time_ns() // 1_000)
    async with second, await second.api() as api:
        ready = await api.get("/readyz")
        assert (ready.status_code, list(ready.json()["reasons"])) == (200, ["frozen"])
        refused = await api.post(f"/api/v1/automations/{made}/execute", json={})
        assert (refused.status_code, refused.json()["code"]) == (400, 9)
        await terminate(api, in_flight)
        shown = await until(api, in_flight, "TERMINATE")
        finding = {"step": "call", "finding": "HAPPENED", "note": "the receiver has it"}
        added = await api.post(f"/interlock/v1/executions/{in_flight}/addenda", json=finding)
        assert (added.status_code, added.json()["number"]) == (200, 1)
        receipt = (await api.get(f"/interlock/v1/executions/{in_flight}/receipt")).json()
    assert shown["steps"][0]["outcome"] == "ABANDONED"
    assert (receipt["frozen"], receipt["restored"]["backup"], receipt["unresolved"]) == (True, "monday.db", 0)
    assert len(receiver.requests) == 1
