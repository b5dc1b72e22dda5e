"""A caller with all rights, over an engine in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.operations.operations_client import OperationsClient, operations_client


@pytest.fixture
async def admin() -> AsyncIterator[OperationsClient]:
    async with operations_client() as made:
        yield made
