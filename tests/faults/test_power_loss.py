"""The power fails at any moment, and the disk keeps of what was not synced whatever it likes."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import apsw
import pytest

from interlock.store.sqlite.disk import DATABASE
from tests.faults.facts import FILES, Fact, look
from tests.faults.fork_server import ForkServer, Log
from tests.faults.images import (
    CALLS,
    CALLS_OF_SOCKETS,
    Answered,
    Disk,
    Event,
    Kept,
    Synced,
    Wrote,
    events,
    without_syncs,
)
from tests.faults.scenario import Baseline, Play, Told, start_many
from tests.receivers import Receiver

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SEED = 20_261_126
WORKERS = 2
WAL = FILES[1]
MORE = 10
"""Starts at a time, until the WAL has been begun anew, and after that."""
MOST = 60


@dataclass
class Recording:
    """A play from the first instruction to the end of the process: the disk before it, its log, what was told."""

    directory: Path
    log: Path
    told: list[Told]

    def happened(self) -> list[Event]:
        return list(events(self.log, self.directory / "data"))

    def disk(self) -> Disk:
        return Disk.of(self.directory / "before", FILES)


@pytest.fixture(scope="module")
async def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The scenario, and as many starts as it takes for a checkpoint beside commits and a WAL that is begun anew."""
    place = tmp_path_factory.mktemp("power")
    directory = place / "recorded"
    async with ForkServer() as fork_server, Receiver() as receiver:
        play = await (await Baseline.made(fork_server, receiver, place / "baseline")).play(directory)
        return await recorded(play, directory)


async def recorded(play: Play, directory: Path) -> Recording:
    (directory / "before").mkdir()
    (directory / "before" / DATABASE).write_bytes((directory / "data" / DATABASE).read_bytes())
    log = directory / "calls"
    assert await play.server.start(Log((*CALLS, *CALLS_OF_SOCKETS), log))
    assert await play.go_on()
    wal = directory / "data" / WAL
    first = header(wal)
    for _ in range(MOST):
        await start_many(play, MORE)
        if header(wal) != first:
            break
    await start_many(play, MORE)
    assert await play.server.stop() == 0
    return Recording(directory, log, play.told)


def header(wal: Path) -> bytes:
    """What changes when a WAL is begun anew over the old one."""
    with wal.open("rb") as file:
        return file.read(32)


@dataclass
class Found:
    """What the images of one part showed."""

    images: int = 0
    acknowledged: int = 0
    """Answers that were looked at with nothing unsynced left."""
    problems: list[str] = field(default_factory=list)


def examine(
    recording: Recording, images: int, seed: int, part: int, *, syncs_wal: bool = True, enough: int = sys.maxsize
) -> Found:
    """Look at one part of the images: at each answer the one that lost everything, and others where chance says."""
    chance = random.Random(f"{seed} {part}")
    happened = recording.happened()
    if not syncs_wal:
        happened = without_syncs(happened, lambda name: name == WAL)
    answers = [index for index, event in enumerate(happened) if isinstance(event, Answered)]
    mine = [(index, Kept.NONE) for index in answers[part::WORKERS]]
    mine += [(chance.randrange(len(happened)), chance.choice(list(Kept))) for _ in range(images // WORKERS - len(mine))]
    disk, found, answered, next_event = recording.disk(), Found(), 0, 0
    place = recording.directory / f"image-{part}"
    place.mkdir(exist_ok=True)
    for index, kept in sorted(mine):
        for event in happened[next_event : index + 1]:
            disk.take(event)
            if isinstance(event, Answered):
                answered = event.number
        next_event = max(next_event, index + 1)
        facts = [told.fact for told in recording.told if told.answer <= answered]
        problems = open_image(place, disk.image(kept, chance), facts)
        found.images += 1
        found.acknowledged += kept is Kept.NONE and isinstance(happened[index], Answered)
        found.problems += [f"at event {index} with {kept} kept: {problem}" for problem in problems]
        if len(found.problems) >= enough:
            break
    return found


def open_image(place: Path, files: dict[str, bytearray], facts: Sequence[Fact]) -> tuple[str, ...]:
    """Find it as SQLite does after the power has come back."""
    for old in place.iterdir():
        old.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)
    try:
        with closing(apsw.Connection(str(place / DATABASE))) as connection:
            # The image is thrown away: nothing need be moved or synced for it.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.execute("PRAGMA synchronous = OFF")
            return look(connection, facts).problems
    except apsw.Error as error:
        return (f"not sound: {error}",)


async def examined(recording: Recording, images: int) -> Found:
    loop, total = asyncio.get_running_loop(), Found()
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        parts = [loop.run_in_executor(pool, examine, recording, images, SEED, part) for part in range(WORKERS)]
        for part in parts:
            found = await part
            total.images += found.images
            total.acknowledged += found.acknowledged
            total.problems += found.problems
    return total


async def test_no_disk_image_loses_or_tears_an_acknowledged_change(
    recording: Recording, images: int, figures: Callable[[str], None]
) -> None:
    happened = recording.happened()
    checkpointed = [event for event in happened if isinstance(event, Wrote) and event.file == DATABASE]
    begun = [event for event in happened if isinstance(event, Wrote) and event.file == WAL and event.offset == 0]
    found = await examined(recording, images)
    figures(
        f"power loss: images={found.images} events={len(happened)} answers={found.acknowledged} "
        f"checkpoint_writes={len(checkpointed)} violations={len(found.problems)}"
    )
    assert not found.problems
    assert checkpointed
    assert len(begun) > 1
    assert found.acknowledged >= max(told.answer for told in recording.told)


async def test_no_answer_to_a_change_leaves_before_the_sync_that_covers_it(recording: Recording) -> None:
    assert not list(answers_before_their_sync(recording.happened(), recording.told))


async def test_a_log_without_syncs_is_detected(recording: Recording) -> None:
    """The same log, of a server that is broken on purpose."""
    happened = without_syncs(recording.happened(), lambda name: name == WAL)
    assert list(answers_before_their_sync(happened, recording.told))
    found = examine(recording, 200, SEED, 0, syncs_wal=False, enough=10)
    assert any("told and not true" in problem for problem in found.problems), json.dumps(found.problems)


def answers_before_their_sync(happened: Sequence[Event], told: Sequence[Told]) -> Iterator[int]:
    """Answers to changes that left with no commit made and synced since the answer before. One client, one at a time:
    what it asked for can only have been committed in between."""
    changes = {entry.answer for entry in told if entry.changed}
    wrote = synced = False
    for event in happened:
        match event:
            case Wrote(file=name) if name == WAL:
                wrote = True
            case Synced(file=name) if name == WAL:
                synced = synced or wrote
            case Answered(number):
                if number in changes and not synced:
                    yield number
                wrote = synced = False
