"""A bit of a backup flips on its medium: it is noticed before anything is restored from it."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from interlock.errors import Fatal
from interlock.store.sqlite import backup
from tests.faults.scenario import Baseline

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SEED = 20_261_128
FLIPS = 200


def flipped(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def is_refused(file: Path) -> bool:
    try:
        backup.verify(file)
    except Fatal:
        return True
    return False


def everything(file: Path) -> list[object]:
    """All that stands in the tables."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(apsw.Connection(f"{file.as_uri()}?immutable=1", flags=flags)) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        return [db.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables]


def is_the_same(file: Path, truth: list[object]) -> bool:
    try:
        return everything(file) == truth
    except UnicodeDecodeError:
        return False


async def test_a_flipped_bit_of_a_backup_is_noticed(
    baseline: Baseline, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    sound, damaged = tmp_path / "sound.db", tmp_path / "damaged.db"
    backup.create(baseline.directory / "data", sound)
    beside, sum_ = tmp_path / "damaged.db.sha256", (tmp_path / "sound.db.sha256").read_text()
    content, chance = sound.read_bytes(), random.Random(SEED)
    truth, noticed, without, harmless = everything(sound), 0, 0, 0
    for _ in range(FLIPS):
        damaged.write_bytes(flipped(content, chance))
        beside.write_text(sum_)
        noticed += is_refused(damaged)
        beside.unlink()
        if is_refused(damaged):
            without += 1
        else:
            harmless += is_the_same(damaged, truth)
    figures(
        f"bit flips: {FLIPS} in a backup, {noticed} noticed; without its sum {without} noticed, {harmless} harmless, "
        f"{FLIPS - without - harmless} unseen"
    )
    assert noticed == FLIPS
    # What the sum is for: without it the same check, blinded, has to miss something.
    assert without < FLIPS
