"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.auth.clients import World, endpoint_world


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with endpoint_world() as world:
        yield world
