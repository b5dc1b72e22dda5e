"""Polls: the receiver of an accepted attempt is asked for its result, as often as its step wants it.

A poll is a read, so it changes nothing in the run until its result is committed: the run stays `WAITING`. A termination
takes effect immediately and cuts the poll, and a poll that was lost with its process is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from interlock.engine.attempts import settle
from interlock.engine.commits import ActiveRun, Commits
from interlock.engine.following import Following
from interlock.engine.held import Held
from interlock.engine.reports import interpret
from interlock.engine.waiting import wait_for
from interlock.ports import Clock, Executions, Place, Randomness, SecretUnreadable, StepRow, Vault
from interlock.rules.events import Announce, Polled
from interlock.rules.model import SECOND, AttemptRef
from interlock.rules.outcomes import Reached
from interlock.steps.attempt import Accepted, Attempt, Failed, Poll, Report, Succeeded
from interlock.steps.documents import error_document

MAX_POLL_SECONDS: Final = 30
"""Seconds after which a poll is cut and counts as not answered."""
UNANSWERED_POLL_PAUSE_SECONDS: Final = 60
"""Seconds from a poll that was cut for its time to the next one."""


class Polls:
    """Polls the accepted attempts of active runs."""

    def __init__(
        self,
        executions: Executions,
        commits: Commits,
        following: Following,
        clock: Clock,
        chance: Randomness,
        vault: Vault,
    ) -> None:
        self._executions = executions
        self._commits = commits
        self._following = following
        self._clock = clock
        self._chance = chance
        self._vault = vault

    async def poll(self, active: ActiveRun, held: Held) -> bool:
        """Poll the accepted attempt once, and commit what the step reports.

        If the host has no slot for the poll, nothing is committed, and `active.waits_for` names the host.

        Returns:
            False if the run has moved meanwhile, so that the caller must leave it alone.
        """
        execution, position = active.execution, active.execution.step
        rows = [row for row in await self._executions.steps(execution.ref) if row.position == position]
        row = next((row for row in rows if row.attempt == execution.attempt), None)
        if row is None:
            # The run was removed.
            return False
        announced = await self._executions.announced(execution.ref, position)
        if announced is not None:
            active.input, active.sealed = announced.input, announced.sealed
        active.key = row.key
        active.items, active.settled_items, active.began_at = (), {}, min(row.started_at for row in rows)
        call = Announce(position, active.input, sealed=active.sealed)
        if await self._following.in_turn(active, held, call) is None:
            return True
        attempt = Attempt(
            execution.ref,
            execution.automation,
            AttemptRef(position, execution.attempt, row.epoch),
            active.input,
            active.began_at,
            self._vault,
            active.sealed,
            key=active.key,
            apps=active.plan.apps,
        )
        until = (execution.wake_at or self._clock.now()) + (row.wait_left or 0)
        report = await self._reported(active, held, attempt, row, until)
        if report is None:
            return False
        return await self._settle(active, held, attempt, report, until)

    async def _reported(
        self, active: ActiveRun, held: Held, attempt: Attempt, row: StepRow, until: int
    ) -> Report | None:
        """Poll. Returns the report; None if the run is terminated, or if the server is stopping."""
        step = active.plan.steps[attempt.attempt.position].step
        try:
            handle = b""
            if row.handle is not None:
                handle = self._vault.reveal(Place.handle(attempt.ref, row.position), row.handle).document
            if held.stopped or held.closing:
                return None
            if held.cautious is not None:
                held.cautious()
            held.evaluating = True
            report = await self._limited(held, lambda: step.poll(attempt, handle, until))
        except asyncio.CancelledError:
            if not held.end():
                raise
            return None
        except SecretUnreadable as error:
            held.end()
            return Failed(error_document(error.code, error.message), Reached.UNKNOWN)
        except BaseException:
            held.end()
            raise
        held.end()
        if report is not None:
            return attempt.masked(report)
        return Accepted(until, waits_for=Poll(handle, self._clock.now() + UNANSWERED_POLL_PAUSE_SECONDS * SECOND))

    async def _limited(self, held: Held, poll: Callable[[], Awaitable[Report]]) -> Report | None:
        """Return the report of a poll; None if the poll takes too long. A stop does not drop a report that has come."""
        came: list[Report] = []

        async def ask() -> None:
            came.append(await poll())

        try:
            await wait_for(ask, self._clock, self._clock.now() + MAX_POLL_SECONDS * SECOND)
        except asyncio.CancelledError:
            if not (held.stopped and came):
                raise
        return came[0] if came else None

    async def _settle(self, active: ActiveRun, held: Held, attempt: Attempt, report: Report, until: int) -> bool:
        now = self._clock.now()
        step = active.plan.steps[attempt.attempt.position].step
        # What is said of the wait is void if engine time, and the stored times with it, were moved during the poll.
        wake_at = active.execution.wake_at if isinstance(report, Accepted) else None
        if isinstance(report, Accepted) and now >= min(report.until, until):
            # The receiver has accepted the work, and what it did is not known.
            report = Failed(step.expired(), Reached.UNKNOWN)
        elif isinstance(report, Failed) and report.reached is Reached.NOT_SENT:
            # What was not sent is the poll: the work was, and it was accepted.
            report = replace(report, reached=Reached.UNKNOWN)
        result, following = interpret(report, attempt, now, self._chance.chance(), latest=until)
        # The phase stays that of the call, which the receiver accepted.
        result = replace(result, phase=None)
        if isinstance(report, Succeeded) and following is None and not held.stopped and not held.closing:
            if held.cautious is not None:
                # The evaluation of the next step may crash the server; the result must be recorded then.
                active.stale = True
            else:
                following = await self._following.after(active, held, report.output, now)
            now = self._clock.now()
        event = Polled(now, attempt.attempt, active.execution.epoch, result, following, self._commits.holder, wake_at)
        if result.outcome is None:
            # Nothing is known yet, so nothing is lost if this cannot be recorded: the poll is repeated.
            return await self._commits.commit(active, event)
        return await settle(self._commits, active, event)
