"""A server that is broken on purpose: it answers before the commit. Only a fork server imports this."""

from __future__ import annotations

import time
from collections.abc import Callable

from interlock.store.sqlite import store
from interlock.store.sqlite.writer import Writer, _Job


class EarlyWriter(Writer):
    def _elsewhere(self, group: list[_Job], work: Callable[[], BaseException | None]) -> None:
        def slow() -> BaseException | None:
            time.sleep(0.01)
            return work()

        self._answer(group)
        super()._elsewhere(group, slow)


store.Writer = EarlyWriter  # type: ignore[attr-defined]
