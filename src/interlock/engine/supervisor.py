"""The supervisor of background jobs: a failed pass ends neither its job nor the process.

Unavailable       the store accepts no commits now: the pass is repeated, with a growing pause
Fatal             the process shuts down in order
any other error   a defect: it is logged and counted, and the pass is repeated, with a growing pause
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from interlock.errors import Fatal, Unavailable
from interlock.ports import Clock
from interlock.rules.model import SECOND
from interlock.rules.values import value

FIRST_PAUSE_MICROSECONDS: Final = SECOND // 4
"""Microseconds of the pause after the first failure of a pass."""
MAX_PAUSE_MICROSECONDS: Final = 4 * SECOND
"""Microseconds of the longest pause: an accepted termination waits no longer once the store works again."""

_log = logging.getLogger(__name__)


@value(frozen=True, slots=True)
class Job:
    """A background job.

    `idle` returns when there may be work, and `work` does all of it. A failed pass is repeated without `idle`, so that
    the signal which began the pass is not lost. For the same reason `work` finds its work in the store.
    """

    name: str
    idle: Callable[[], Awaitable[object]]
    work: Callable[[], Awaitable[object]]


class Supervisor:
    """Runs background jobs, and repeats the passes that fail.

    Args:
        clock: Measures the pauses.
        fail: Called with the error if the process has to end.
        count: Called after each failure, with the name of the job and the class of the error.
    """

    def __init__(
        self,
        clock: Clock,
        fail: Callable[[Fatal], None] = lambda error: None,
        count: Callable[[str, str], None] = lambda job, error: None,
    ) -> None:
        self._clock = clock
        self._fail = fail
        self._count = count

    async def keep(self, job: Job) -> None:
        """Run the job until this is cancelled, or until the process has to end."""
        pause = FIRST_PAUSE_MICROSECONDS
        try:
            while True:
                if await self.attempt(job.name, job.idle):
                    pause = FIRST_PAUSE_MICROSECONDS
                else:
                    # `idle` may have consumed a signal before it failed, so the pass begins all the same.
                    pause = await self._rest(pause)
                await self.until_done(job.name, job.work)
        except Fatal as error:
            self._fail(error)

    async def until_done(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Repeat the work until it succeeds.

        Args:
            name: The name of the job in log lines and metrics.
            work: The work; it has to be repeatable.

        Raises:
            Fatal: The process has to end.
        """
        pause = FIRST_PAUSE_MICROSECONDS
        while not await self.attempt(name, work):
            pause = await self._rest(pause)

    async def attempt(self, name: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Do the work once. Returns False if it failed.

        Raises:
            Fatal: The process has to end.
        """
        try:
            await work()
        except Fatal:
            raise
        except Unavailable as error:
            _log.warning("background job %s cannot continue: %s; it will be retried", name, error.message)
            self._count(name, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a defect of one job must not end the others
            _log.exception("background job %s failed; it will be retried", name)
            self._count(name, type(error).__name__)
        else:
            return True
        return False

    async def _rest(self, pause: int) -> int:
        """Sleep for `pause` microseconds, and return the next pause."""
        await self._clock.sleep_until(self._clock.now() + pause)
        return min(2 * pause, MAX_PAUSE_MICROSECONDS)
