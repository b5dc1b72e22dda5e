"""The check is checked: between the clients and a real server somebody lies, and is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.histories import liar
from tests.histories.far_end import FarEnd
from tests.histories.figures import Figures
from tests.histories.liar import Liar, Lie
from tests.histories.recorder import Recorder, Subject
from tests.histories.series import prepare, record
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

COUNT = 96


@pytest.fixture(scope="module")
async def raced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Subject, FarEnd]]:
    directory: Path = tmp_path_factory.mktemp("lied about")
    with FarEnd() as far_end:
        async with ServerProcess(directory, egress=[f"127.0.0.1:{far_end.address[1]}"]) as server:
            yield await prepare(server, far_end), far_end


async def told_by(lie: Lie, subject: Subject, far_end: FarEnd) -> Figures:
    figures = Figures(seed=5)
    with (
        Liar(subject.address, lie) as between,
        Recorder(replace(subject, address=between.address), far_end, seed=figures.seed) as recorder,
    ):
        await asyncio.to_thread(record, recorder, COUNT, figures, [])
    return figures


async def test_who_passes_everything_on_is_believed(raced: tuple[Subject, FarEnd]) -> None:
    figures = await told_by(liar.honest(), *raced)
    assert not figures.violations, "\n\n".join(figures.violations)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(liar.loses_orders, id="S1 an accepted order is lost"),
        pytest.param(liar.flips, id="S4 a stopped run is shown as done"),
        pytest.param(liar.overwrites, id="S5 an order after the end is accepted"),
        pytest.param(liar.accepts_twice, id="S6 two orders are accepted"),
        pytest.param(liar.names_the_last, id="S6 the last order's reason stands"),
        pytest.param(liar.looks_back, id="S14 a read after the answer does not see it"),
    ],
)
async def test_a_false_answer_is_detected(lie: Callable[[], Lie], raced: tuple[Subject, FarEnd]) -> None:
    assert (await told_by(lie(), *raced)).violations
