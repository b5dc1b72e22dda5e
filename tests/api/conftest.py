"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.edge import Edge, edge


@pytest.fixture
async def admin() -> AsyncIterator[Edge]:
    async with edge() as made:
        yield made
