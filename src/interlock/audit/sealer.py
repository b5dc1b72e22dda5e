"""The sealer: links rows into their chains soon after they were committed, so that no commit waits for a chain."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Final

from interlock.audit.chain import links
from interlock.ports import AuditLog, Clock

PAUSE: Final = 250_000
"""Microseconds between a commit and the sealing of what it brought, so that many commits share one."""
BATCH: Final = 250
"""Rows of a tenant sealed at a time: about 3 ms, which is how long the loop does nothing else."""


class Sealer:
    """Seals within a second of the commit. It sleeps while nothing is committed; one of it runs in a process."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    async def idle(self) -> None:
        """Return a little after something was committed."""
        await self._audit.news()
        await self._clock.sleep_until(self._clock.now() + PAUSE)

    async def seal_all(self) -> int:
        """Seal whatever is not sealed, and return how many rows that were.

        The rows that a failure leaves are found by their missing seals the next time.

        Raises:
            Unavailable: the store takes nothing.
        """
        total = 0
        while count := await self.seal_batch():
            total += count
        return total

    async def seal_batch(self) -> int:
        """Seal the oldest unsealed rows of each tenant; returns how many there were."""
        count = 0
        for tenant, group in groupby(await self._audit.unsealed(BATCH), key=attrgetter("tenant")):
            rows = list(group)
            head = await self._audit.head(tenant)
            if rows[0].id > head[0]:
                await self._audit.seal(tenant, head, links(head[1], rows))
            count += len(rows)
        return count
