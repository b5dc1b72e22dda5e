"""kill -9 at every write, sync and answer of a scenario: nothing acknowledged is lost, and nothing told is untrue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.fork_server import ForkServer
from tests.faults.points import Point, Tally, at_each, chosen, every_point, kill_at
from tests.faults.scenario import Baseline

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SEED = 20_261_125
AGAIN = 0.2
"""Of the points, those at which the process that recovers is killed in turn."""


PARTS = 4
"""What takes minutes is cut into tests, none of which takes so long that it has to be taken for hanging."""


@pytest.fixture(scope="module")
async def points(
    baselines: list[Baseline], tmp_path_factory: pytest.TempPathFactory, kill_points: int | None
) -> list[Point]:
    every = await every_point(baselines[0], tmp_path_factory.mktemp("counted"))
    count = len(every) if kill_points is None else min(kill_points, len(every))
    return chosen(every, count, round(AGAIN * count), SEED)


@pytest.fixture(scope="module")
def whole(figures: Callable[[str], None]) -> Iterator[Tally]:
    tally = Tally()
    yield tally
    figures(f"kill -9: {tally.figures()}")


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_kill_at_any_point_loses_nothing_and_receipts_stay_true(
    baselines: list[Baseline], points: list[Point], part: int, whole: Tally, tmp_path: Path
) -> None:
    mine, tally = points[part::PARTS], Tally()
    await at_each(mine, baselines, tmp_path, tally, kill_at)
    whole.add(tally)
    assert not tally.problems
    assert tally.missed <= 2 + len(mine) / 5


async def test_an_answer_before_its_commit_is_detected(baseline: Baseline, tmp_path: Path) -> None:
    """The same, of a server that is broken on purpose."""
    async with ForkServer("tests.faults.broken_early_answers") as broken:
        baseline.fork_server = broken
        points = [Point("pwrite64", number, starting=False) for number in range(1, 42, 4)]
        tally = Tally()
        await at_each(points, [baseline], tmp_path, tally, kill_at)
    assert any("told and not true" in problem for problem in tally.problems), tally
