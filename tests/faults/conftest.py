"""Two grounds to play on at once, each with a far end of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery
from tests.faults.scenario import Ground
from tests.receivers import Receiver


@pytest.fixture(scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    assert shutil.which("strace"), "these tests need strace: tools/debian.sh strace=strace"
    async with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module")
async def grounds(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Ground]]:
    place = tmp_path_factory.mktemp("grounds")
    async with Receiver() as one, Receiver() as two:
        yield [
            await Ground.made(nursery, receiver, place / f"ground-{number}")
            for number, receiver in enumerate((one, two))
        ]


@pytest.fixture
async def ground(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Ground]:
    async with Receiver() as receiver:
        yield await Ground.made(nursery, receiver, tmp_path / "ground")
