"""The page on compatibility says what is measured, and nothing in it is red."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compatibility.report import PATH, Measured, document, measure
from tests.compatibility.transcripts import OPERATIONS

WRITTEN = PATH.read_text() if PATH.exists() else ""
pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


@pytest.fixture(scope="module")
async def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    directory: Path = tmp_path_factory.mktemp("document")
    return await measure(directory)


async def test_no_client_is_failed_and_no_field_is_lost(measured: Measured) -> None:
    assert [(row.client, row.call, row.faults) for row in measured.rows if row.faults] == []
    assert measured.lost == ()


async def test_every_operation_has_a_row(measured: Measured) -> None:
    assert {row.operation for row in measured.rows} == set(OPERATIONS)


async def test_the_page_is_up_to_date(measured: Measured) -> None:
    assert document(measured) == WRITTEN, "run: python -m tests.compatibility"
