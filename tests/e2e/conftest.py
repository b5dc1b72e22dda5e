"""A server that may reach one receiver, and a client for each of two kinds of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.receivers import Answer, Receiver
from tests.servers import ServerProcess


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(Answer.json({"version": "v1", "context": {"ticket": "INC-1"}})) as receiver:
        yield receiver


@pytest.fixture
async def server(tmp_path: Path, receiver: Receiver) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path, egress=[f"127.0.0.1:{receiver.port}"]) as server:
        yield server


@pytest.fixture
async def api(server: ServerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    async with await server.api() as api:
        yield api
