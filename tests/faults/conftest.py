"""Two baselines that are played at the same time, each with a receiver of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.fork_server import ForkServer
from tests.faults.scenario import Baseline
from tests.receivers import Receiver


@pytest.fixture(scope="module")
async def fork_server() -> AsyncIterator[ForkServer]:
    assert shutil.which("strace"), "these tests need strace: tools/debian.sh strace=strace"
    async with ForkServer() as fork_server:
        yield fork_server


@pytest.fixture(scope="module")
async def baselines(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Baseline]]:
    place = tmp_path_factory.mktemp("baselines")
    async with Receiver() as one, Receiver() as two:
        yield [
            await Baseline.made(fork_server, receiver, place / f"baseline-{number}")
            for number, receiver in enumerate((one, two))
        ]


@pytest.fixture
async def baseline(fork_server: ForkServer, tmp_path: Path) -> AsyncIterator[Baseline]:
    async with Receiver() as receiver:
        yield await Baseline.made(fork_server, receiver, tmp_path / "baseline")
