"""The supervisor of background jobs: a job never ends, and never ends the process, because one pass of it failed.

Unavailable       the store takes nothing at present: the same pass is repeated, with a growing pause
Fatal             the process has to end, in order
any other error   a defect: logged, counted, and the same pass is repeated, with a growing pause
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from interlock.errors import Fatal, Unavailable
from interlock.ports import Clock
from interlock.rules.model import SECOND

FIRST_PAUSE_MICROSECONDS: Final = SECOND // 4
"""Pause after the first failure of a pass."""
MAX_PAUSE_MICROSECONDS: Final = 4 * SECOND
"""Longest pause between two tries: a termination that was answered must not wait longer once the store works again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Work in the background.

    `idle` returns when there may be something to do, and `work` does all there is. A failed pass is repeated without
    `idle`, so that the news which began it is not lost; for the same reason `work` finds its work in the store.
    """

    name: str
    idle: Callable[[], Awaitable[object]]
    work: Callable[[], Awaitable[object]]


class Supervisor:
    """Keeps jobs going.

    Args:
        clock: for the pauses.
        fail: told when the process has to end.
        count: told of each failure: the job and the class of the error.
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
        """Run the job until cancelled, or until the process has to end."""
        pause = FIRST_PAUSE_MICROSECONDS
        try:
            while True:
                if await self.attempt(job.name, job.idle):
                    pause = FIRST_PAUSE_MICROSECONDS
                else:
                    # It may have taken the news before it failed, so the work is looked for all the same.
                    pause = await self._rest(pause)
                await self.until_done(job.name, job.work)
        except Fatal as error:
            self._fail(error)

    async def until_done(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Repeat the work until it succeeds.

        Raises:
            Fatal: the process has to end.
        """
        pause = FIRST_PAUSE_MICROSECONDS
        while not await self.attempt(name, work):
            pause = await self._rest(pause)

    async def attempt(self, name: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Do the work once; False if it failed.

        Raises:
            Fatal: the process has to end.
        """
        try:
            await work()
        except Fatal:
            raise
        except Unavailable as error:
            _log.warning("background job %s cannot go on: %s; it will be retried", name, error.message)
            self._count(name, type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the last line: a defect of one job must not end the others
            _log.exception("background job %s failed; it will be retried", name)
            self._count(name, type(error).__name__)
        else:
            return True
        return False

    async def _rest(self, pause: int) -> int:
        """Pause; returns how long the next pause is."""
        await self._clock.sleep_until(self._clock.now() + pause)
        return min(2 * pause, MAX_PAUSE_MICROSECONDS)
