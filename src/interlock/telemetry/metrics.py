"""Metrics in Prometheus' text form. Children are bound once: looking one up costs four times as much as counting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_LAG: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one process, in a registry of their own, so that two servers can run in one test."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "interlock_http_requests",
            "Answers, by operation and status.",
            ["operation", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "interlock_http_request_seconds",
            "From the head of a request to its answer, by lane.",
            ["lane"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.loop_lag = Histogram(
            "interlock_loop_lag_seconds",
            "How late the event loop is, looked at once a second.",
            buckets=_LAG,
            registry=self._registry,
        )

        self._job_failures = Counter(
            "interlock_job_failures",
            "Passes of background jobs that failed and were retried, by job and class of the error.",
            ["job", "error"],
            registry=self._registry,
        )

    def job_failed(self, job: str, error: str) -> None:
        """A pass of a background job failed."""
        self._job_failures.labels(job, error).inc()

    def meter(self, operation: str, lane: str) -> Meter:
        """Counts the answers of one operation."""
        return Meter(operation, self._requests, self._seconds.labels(lane))

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Register a gauge whose value is read at each scrape."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def render(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


class Meter:
    """Counts the answers of one operation, and how long they took."""

    __slots__ = ("_by_status", "_operation", "_requests", "_seconds")

    def __init__(self, operation: str, requests: Counter, seconds: Histogram) -> None:
        self._operation = operation
        self._requests = requests
        self._seconds = seconds
        self._by_status: dict[int, Counter] = {}

    def done(self, status: int, microseconds: int) -> None:
        """One answer was sent."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(self._operation, str(status))
        counter.inc()
        self._seconds.observe(microseconds / 1_000_000)
