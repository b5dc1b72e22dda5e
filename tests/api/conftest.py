"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.app_client import AppClient, app_client


@pytest.fixture
async def admin() -> AsyncIterator[AppClient]:
    async with app_client() as made:
        yield made
