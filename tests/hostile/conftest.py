"""Fixtures of these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from interlock.api.connection import Connection
from interlock.contract.automations import Automation, CreateAutomationRequest
from interlock.contract.base import from_stored, to_stored
from interlock.contract.parse import parse
from tests.api.app_client import AppClient, app_client
from tests.cli.conftest import interlock, server
from tests.operations.conftest import admin

__all__ = ["Port", "admin", "interlock", "port", "server"]


@pytest.fixture(scope="module", autouse=True)
def used_once() -> None:
    """Build the validators before the first test: that takes longer than a callback of a test may."""
    automation = parse(CreateAutomationRequest, b'{"displayName": "an automation"}')
    from_stored(Automation, to_stored(automation))


@dataclass
class Port:
    """The application and the engine in memory, behind a real socket."""

    app_client: AppClient
    url: str
    state: ServerState


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with app_client() as made:
        loop = asyncio.get_running_loop()
        config = Config(made.api, log_config=None, access_log=False, date_header=False, server_header=False, ws="none")
        config.load()
        state = ServerState()
        server = await loop.create_server(lambda: Connection(config, state, {}, loop), "127.0.0.1", 0)
        host, number = server.sockets[0].getsockname()
        try:
            yield Port(made, f"http://{host}:{number}", state)
        finally:
            server.close()
            for connection in list(state.connections):
                connection.transport.abort()
            await server.wait_closed()
