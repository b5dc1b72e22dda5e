"""What comes next in a run: the next step, prepared, or a further attempt at the current step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from interlock.engine.commits import ActiveRun
from interlock.engine.held import Held
from interlock.engine.items import remaining
from interlock.engine.prepare import Preparer
from interlock.ports import Announced, Executions, Marks, SecretUnreadable, StepRow, Vault
from interlock.rules.events import Announce, Fail, Next
from interlock.rules.model import Execution
from interlock.steps.documents import error_document
from interlock.steps.masking import ANSWER_MEMBERS

_log = logging.getLogger(__name__)


class Following:
    """Prepares what comes next, for a run that may be terminated meanwhile."""

    def __init__(self, executions: Executions, preparer: Preparer, marks: Marks, vault: Vault) -> None:
        self._executions = executions
        self._vault = vault
        self._preparer = preparer
        self._marks = marks

    async def entered(self, active: ActiveRun, held: Held, at: int) -> Next | None:
        """Prepare the current step. A further attempt has the input and the key of the first, and its open items.

        Returns:
            What comes next; None if the run is terminated.
        """
        execution = active.execution
        if execution.attempt > 0:
            first = await self.first_row(execution)
            if first is not None and first.input is not None:
                active.began_at = first.started_at
                announced = await self._executions.announced(execution.ref, execution.step)
                if announced is None:
                    announced = Announced(input=first.input, key=first.key)
                rows = await self._executions.items_of_step(execution.ref, execution.step)
                try:
                    items, active.settled_items = remaining(execution.ref, rows, self._vault)
                except SecretUnreadable as error:
                    return Fail(execution.step, error_document(error.code, error.message))
                return Announce(
                    execution.step,
                    announced.input,
                    items,
                    sealed=announced.sealed,
                    key=announced.key,
                )
        return await self.at_position(active, held, execution.step, at)

    async def at_position(self, active: ActiveRun, held: Held, position: int, at: int) -> Next | None:
        """Prepare the step at a position. Returns None if the run is terminated: it keeps no slot for an evaluation."""
        if held.stopped:
            return None
        # Plain selections run in this process and are cheap, so they need no mark.
        mark = -1 if active.plan.is_plain(position) else self._marks.begin(active.ref)
        held.evaluating = True
        try:
            following = await self._preparer.following(
                active.ref, active.plan, position, active.context, at, held.is_stopped
            )
        except asyncio.CancelledError:
            if not held.end():
                raise
            return None
        except BaseException:
            held.end()
            raise
        finally:
            self._marks.end(mark)
        held.end()
        return following

    async def after(self, active: ActiveRun, held: Held, output: Mapping[str, object], at: int) -> Next | None:
        """Prepare what follows the current step, which succeeded.

        Returns:
            What comes next; None after a defect. The step is then recorded as it ended, and the run becomes ready for
            the next step, which fails if the defect occurs again.
        """
        execution = active.execution
        position = execution.step
        steps = active.plan.steps
        try:
            if position + 1 < len(steps):
                secret = frozenset() if active.sealed is None else ANSWER_MEMBERS.intersection(output)
                active.context.add(steps[position].name, output, secret)
            return await self.in_turn(active, held, await self.at_position(active, held, position + 1, at))
        except Exception:  # noqa: BLE001 - the attempt has settled, and no defect of the server may change that
            _log.exception("preparing the step after step %s of execution %s failed", position, execution.id)
            active.stale = True
            return None

    async def in_turn(self, active: ActiveRun, held: Held, following: Next | None) -> Next | None:
        """Return `following`, or None if it is a call whose host has no slot for it now."""
        if isinstance(following, Announce):
            host = await self._preparer.destination(active.ref, active.plan, following)
            if not held.may_call(host):
                active.waits_for = host
                return None
        return following

    async def first_row(self, execution: Execution) -> StepRow | None:
        """Return the stored row of the first attempt at the current step."""
        rows = [row for row in await self._executions.steps(execution.ref) if row.position == execution.step]
        return min(rows, key=lambda row: row.attempt, default=None)
