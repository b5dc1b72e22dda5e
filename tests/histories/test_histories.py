"""Stops and ends of real runs, raced by eight clients: each history has an order in which every answer was true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.histories.figures import Figures
from tests.histories.series import series

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def test_every_history_of_stop_and_end_is_linearizable(
    tmp_path: Path, part: tuple[int, int], whole: Figures
) -> None:
    seed, count = part
    figures = await series(tmp_path, count, seed)
    whole.merge(figures)
    assert not figures.violations, "\n\n".join(figures.violations)
    figures.assert_covered()


@pytest.mark.crash
async def test_and_so_is_every_history_with_a_crash_in_it(tmp_path: Path) -> None:
    figures = await series(tmp_path, 128, seed=50_000, kill=True)
    assert not figures.violations, "\n\n".join(figures.violations)
    assert figures.survived >= 20, figures.line()
