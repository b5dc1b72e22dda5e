"""Latencies, kept in buckets that are at most 0.8 % wide: small, mergeable, and exact enough for a percentile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_BITS: Final = 7


@dataclass(slots=True)
class Histogram:
    """Counts of durations. Durations go in and come out in seconds and are kept in whole nanoseconds."""

    counts: Counter[int] = field(default_factory=Counter)
    largest: int = 0

    def add(self, seconds: float) -> None:
        nanoseconds = int(seconds * 1e9)
        if nanoseconds > self.largest:
            self.largest = nanoseconds
        exponent = nanoseconds.bit_length() - _BITS - 1
        self.counts[nanoseconds if exponent <= 0 else (exponent << _BITS) + (nanoseconds >> exponent)] += 1

    def merge(self, other: Histogram) -> None:
        self.counts.update(other.counts)
        self.largest = max(self.largest, other.largest)

    @property
    def count(self) -> int:
        return self.counts.total()

    def quantile(self, share: float) -> float:
        """The upper edge of the bucket in which `share` of all durations have been passed; 0 if there are none."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(_upper(bucket), self.largest) / 1e9
        return 0.0

    @property
    def p50(self) -> float:
        return self.quantile(0.50)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def max(self) -> float:
        return self.largest / 1e9


def _upper(bucket: int) -> int:
    """The greatest number of nanoseconds in a bucket."""
    exponent = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (exponent << _BITS)) + 1 << exponent) - 1
