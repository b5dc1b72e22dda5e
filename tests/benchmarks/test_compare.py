"""Two commits are compared by alternating tries, and the table says how far the tries lie apart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from benchmarks.client import Failed
from benchmarks.compare import Tries, _pins, alternated, prepare
from benchmarks.compared import Bench
from benchmarks.report import ROOT, processor

pytestmark = pytest.mark.anyio

TREES = (Path("/other"), Path("/this"))


class Recorded:
    """A benchmark that measures nothing, and records when each tree was asked."""

    def __init__(self, *, fails_at: int = -1) -> None:
        self.order: list[str] = []
        self.closed: list[str] = []
        self._fails_at = fails_at

    async def samples(self, tree: Path, directory: Path) -> AsyncGenerator[Mapping[str, float], None]:
        try:
            while True:
                if len(self.order) == self._fails_at:
                    raise Failed("no answer")
                self.order.append(tree.name)
                yield {"CPU": float(len(self.order))}
        finally:
            self.closed.append(tree.name)


async def test_tries_alternate_in_mirrored_pairs(tmp_path: Path) -> None:
    recorded = Recorded()
    found = await alternated(Bench(recorded.samples, "ms"), TREES, tmp_path, 3)
    assert recorded.order == ["other", "this", "this", "other", "other", "this"]
    assert found == {"CPU": Tries(other=[1.0, 4.0, 5.0], this=[2.0, 3.0, 6.0])}
    assert recorded.closed == ["other", "this"]


async def test_failed_try_ends_both_servers(tmp_path: Path) -> None:
    recorded = Recorded(fails_at=3)
    with pytest.raises(Failed, match="no answer"):
        await alternated(Bench(recorded.samples, "ms"), TREES, tmp_path, 3)
    assert sorted(recorded.closed) == ["other", "this"]


def test_row_has_least_median_ratios_and_spread() -> None:
    tries = Tries(other=[0.1, 0.2, 0.4], this=[0.11, 0.3, 0.4])
    assert tries.row("CPU", "ms") == ("| CPU | 100 (200) ms | 110 (300) ms | 1.100 | 1.500 | 1.05 to 1.30 |")
    assert Tries(other=[2e-6], this=[1e-6]).row("CPU", "µs") == (
        "| CPU | 2.00 (2.00) µs | 1.00 (1.00) µs | 0.500 | 0.500 | 0.50 to 0.50 |"
    )


def test_tree_with_other_dependencies_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements" / "runtime.txt"
    lock.parent.mkdir()
    lock.write_bytes((ROOT / "requirements" / "runtime.txt").read_bytes() + b"other==1\n")
    with pytest.raises(Failed, match=r"runtime\.txt differs"):
        prepare(tmp_path)


def test_pins_of_another_tree_are_compared_with_what_is_installed(tmp_path: Path) -> None:
    runtime = (ROOT / "requirements" / "runtime.txt").read_text()
    found = _pins(ROOT / "requirements" / "runtime.txt")
    assert len(found) == runtime.count("==")
    # A tree that also wants what this checkout needs for its tests alone runs here as well.
    assert found < _pins(ROOT / "requirements" / "dev.txt")


def test_processor_is_named_with_family_and_model(tmp_path: Path) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2445.428\n"
        "cache size\t: 512 KB\n\nprocessor\t: 1\nmodel name\t: another\n"
    )
    assert processor(described) == "AMD EPYC, family 25 model 1, 2.45 GHz, cache 512 KB"
    assert processor(tmp_path / "missing")
