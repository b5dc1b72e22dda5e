"""The checker of histories detects a proxy that falsifies the answers of a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.histories import faulty_proxy
from tests.histories.faulty_proxy import Fault, FaultyProxy
from tests.histories.figures import Figures
from tests.histories.receiver import Receiver
from tests.histories.recorder import Recorder, Subject
from tests.histories.series import prepare, record
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

COUNT = 96


@pytest.fixture(scope="module")
async def raced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Subject, Receiver]]:
    directory: Path = tmp_path_factory.mktemp("lied about")
    with Receiver() as receiver:
        async with ServerProcess(directory, egress=[f"127.0.0.1:{receiver.address[1]}"]) as server:
            yield await prepare(server, receiver), receiver


async def told_by(fault: Fault, subject: Subject, receiver: Receiver) -> Figures:
    figures = Figures(seed=5)
    with (
        FaultyProxy(subject.address, fault) as between,
        Recorder(replace(subject, address=between.address), receiver, seed=figures.seed) as recorder,
    ):
        await asyncio.to_thread(record, recorder, COUNT, figures, [])
    return figures


async def test_who_passes_everything_on_is_believed(raced: tuple[Subject, Receiver]) -> None:
    figures = await told_by(faulty_proxy.honest(), *raced)
    assert not figures.violations, "\n\n".join(figures.violations)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faulty_proxy.loses_orders, id="S1 an accepted terminate is lost"),
        pytest.param(faulty_proxy.flips, id="S4 a stopped run is shown as done"),
        pytest.param(faulty_proxy.overwrites, id="S5 a terminate after the end is accepted"),
        pytest.param(faulty_proxy.accepts_twice, id="S6 two terminates are accepted"),
        pytest.param(faulty_proxy.names_the_last, id="S6 the last reason is kept"),
        pytest.param(faulty_proxy.looks_back, id="S14 a read after the answer does not see it"),
    ],
)
async def test_a_false_answer_is_detected(fault: Callable[[], Fault], raced: tuple[Subject, Receiver]) -> None:
    assert (await told_by(fault(), *raced)).violations
