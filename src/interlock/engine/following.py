"""What comes next in a run: the next step, prepared, or the present one, announced once more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from interlock.engine.commits import Carried
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
    """Works out what follows, for a run that may be stopped meanwhile."""

    def __init__(self, executions: Executions, preparer: Preparer, marks: Marks, vault: Vault) -> None:
        self._executions = executions
        self._vault = vault
        self._preparer = preparer
        self._marks = marks

    async def entered(self, carried: Carried, held: Held, at: int) -> Next | None:
        """What comes at the present step. A further attempt has the input of the first, its key and its open items."""
        execution = carried.execution
        if execution.attempt > 0:
            first = await self.first_row(execution)
            if first is not None and first.input is not None:
                carried.began_at = first.started_at
                announced = await self._executions.announced(execution.ref, execution.step)
                if announced is None:
                    announced = Announced(input=first.input, key=first.key)
                rows = await self._executions.items_of_step(execution.ref, execution.step)
                try:
                    items, carried.settled_items = remaining(execution.ref, rows, self._vault)
                except SecretUnreadable as error:
                    return Fail(execution.step, error_document(error.code, error.message))
                return Announce(
                    execution.step,
                    announced.input,
                    items,
                    sealed=announced.sealed,
                    key=announced.key,
                )
        return await self.at_position(carried, held, execution.step, at)

    async def at_position(self, carried: Carried, held: Held, position: int, at: int) -> Next | None:
        """What comes at that position. None: the run is stopped, and its slot is not kept for an evaluation."""
        if held.stopped:
            return None
        # What is plain is read by our own code alone: it costs nothing, and no mark either.
        mark = -1 if carried.plan.is_plain(position) else self._marks.begin(carried.execution.ref)
        held.evaluating = True
        try:
            following = await self._preparer.following(
                carried.execution.ref, carried.plan, position, carried.context, at, held.is_stopped
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

    async def after(self, carried: Carried, held: Held, output: Mapping[str, object], at: int) -> Next | None:
        """What follows the present step, which succeeded. None if a defect was met: then the step is recorded as it
        ended, and the run rests ready for the step after it, which fails if the defect is met again."""
        execution = carried.execution
        position = execution.step
        steps = carried.plan.steps
        try:
            if position + 1 < len(steps):
                secret = frozenset() if carried.sealed is None else ANSWER_MEMBERS.intersection(output)
                carried.context.add(steps[position].name, output, secret)
            return await self.in_turn(carried, held, await self.at_position(carried, held, position + 1, at))
        except Exception:  # noqa: BLE001 - the attempt has settled, and no defect of ours may change that
            _log.exception("what follows step %s of execution %s cannot be prepared", position, execution.id)
            carried.stale = True
            return None

    async def in_turn(self, carried: Carried, held: Held, following: Next | None) -> Next | None:
        """What follows. None: it is a call whose turn has not come, or nothing is known to follow."""
        if isinstance(following, Announce):
            host = await self._preparer.destination(carried.execution.ref, carried.plan, following)
            if not held.may_call(host):
                carried.waits_for = host
                return None
        return following

    async def first_row(self, execution: Execution) -> StepRow | None:
        """The first attempt at the present step, as it is stored."""
        rows = [row for row in await self._executions.steps(execution.ref) if row.position == execution.step]
        return min(rows, key=lambda row: row.attempt, default=None)
