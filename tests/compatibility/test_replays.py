"""Every recorded call of every SDK, played again against a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.compatibility.live_server import LiveServer
from tests.compatibility.replays import OFFERED, replay
from tests.compatibility.transcripts import OPERATIONS, Exchange, exchanges
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


@pytest.fixture(scope="module")
async def live_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    directory: Path = tmp_path_factory.mktemp("replays")
    async with ServerProcess(directory) as server:
        yield await LiveServer.of(server)


@pytest.mark.parametrize("exchange", exchanges(), ids=str)
async def test_a_recorded_call_is_answered_as_its_client_needs_it(live_server: LiveServer, exchange: Exchange) -> None:
    row = await replay(live_server, exchange)
    assert row.faults == ()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_offered_and_was_recorded(operation: str) -> None:
    assert operation in OFFERED
    assert any(exchange.operation == operation for exchange in exchanges())
