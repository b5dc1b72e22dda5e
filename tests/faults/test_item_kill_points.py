"""kill -9 at every commit, write and call of a server whose steps have items: no item on record is performed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.faults.fork_server import ForkServer
from tests.faults.item_scenario import ItemBaseline, item_accounts
from tests.faults.points import Point, Tally, at_each, chosen, every_point, kill_at
from tests.receivers import Receiver

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SEED = 20_261_128
AGAIN = 0.2
"""Of the points, those at which the process that recovers is killed in turn."""
KINDS = "tests.faults.item_kinds"

kill = partial(kill_at, account=item_accounts)


@pytest.fixture(scope="module")
async def item_baselines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[ItemBaseline]]:
    place = tmp_path_factory.mktemp("baselines")
    async with ForkServer(KINDS) as fork_server, Receiver() as one, Receiver() as two:
        yield [
            await ItemBaseline.made(fork_server, receiver, place / f"baseline-{number}")
            for number, receiver in enumerate((one, two))
        ]


@pytest.fixture(scope="module")
async def item_points(item_baselines: list[ItemBaseline], tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    """The points while the server serves: its start is killed by the tests of the other scenario."""
    every = await every_point(item_baselines[0], tmp_path_factory.mktemp("counted"))
    return [point for point in every if not point.starting]


def sampled(points: Sequence[Point], count: int | None) -> list[Point]:
    """Every commit, and as many of the other points as are left of `count` (None: all)."""
    commits = [point for point in points if point.call == "fdatasync"]
    rest = [point for point in points if point.call != "fdatasync"]
    left = len(rest) if count is None else max(count - len(commits), 0)
    taken = [*commits, *chosen(rest, left, 0, SEED)]
    return chosen(taken, None, round(AGAIN * len(taken)), SEED)


async def test_kill_at_any_point_repeats_no_item_on_record(
    item_baselines: list[ItemBaseline],
    item_points: list[Point],
    item_kill_points: int | None,
    tmp_path: Path,
    figures: Callable[[str], None],
) -> None:
    tally = Tally()
    points = sampled(item_points, item_kill_points)
    await at_each(points, item_baselines, tmp_path, tally, kill)
    figures(f"kill -9, items: {tally.figures()}")
    assert not tally.problems
    assert tally.missed <= 2 + len(points) / 5


async def test_undisturbed_play_has_nothing_in_doubt_that_was_not_stopped(
    item_baselines: list[ItemBaseline], tmp_path: Path
) -> None:
    """The judge itself: what it compares is there."""
    play = await item_baselines[0].play(tmp_path / "play")
    assert await play.server.start()
    assert await play.go_on()
    assert await item_accounts(play) == []
    calls = Counter({name: len(play.calls()[run]) for name, run in play.runs.items()})
    assert calls == {"mail": 4, "chat": 3, "cut": 2, "silent": 2, "drained": 3}
    await play.server.kill()


async def test_server_that_performs_items_on_record_again_is_detected(
    item_baselines: list[ItemBaseline], item_points: list[Point], tmp_path: Path
) -> None:
    """The same, of a server that is broken on purpose."""
    async with ForkServer(KINDS, "tests.faults.broken_forgetful") as broken, Receiver() as receiver:
        baseline = await ItemBaseline.made(broken, receiver, tmp_path / "baseline")
        commits = [point for point in item_points if point.call == "fdatasync"]
        tally = Tally()
        for point in commits[len(commits) // 3 :]:
            if not tally.problems:
                await at_each([point], [baseline], tmp_path / str(point.number), tally, kill)
    assert any("I2" in problem for problem in tally.problems), tally
