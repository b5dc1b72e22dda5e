"""The benchmark's histogram says what a sorted list would say, to within one per cent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from benchmarks.histogram import Histogram

durations = some.lists(some.integers(0, 100_000_000_000), min_size=1, max_size=200)


def filled(nanoseconds: list[int]) -> Histogram:
    histogram = Histogram()
    for duration in nanoseconds:
        histogram.add(duration / 1e9)
    return histogram


@given(durations, some.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_the_one_of_the_sorted_list(nanoseconds: list[int], share: float) -> None:
    position = max(0, -int(-share * len(nanoseconds) // 1) - 1)
    exact = sorted(nanoseconds)[position] / 1e9
    found = filled(nanoseconds).quantile(share)
    assert exact - 2e-9 <= found <= exact * 1.01 + 2e-9


@given(durations, durations)
def test_two_merged_are_one_that_saw_everything(first: list[int], second: list[int]) -> None:
    merged = filled(first)
    merged.merge(filled(second))
    assert merged == filled(first + second)


def test_an_empty_one_has_nothing_to_say() -> None:
    assert (Histogram().count, Histogram().p99, Histogram().max) == (0, 0.0, 0.0)
