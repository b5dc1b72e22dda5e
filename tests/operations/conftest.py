"""A caller with all rights, over an engine in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.operations.desk import Desk, desk


@pytest.fixture
async def ann() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made
