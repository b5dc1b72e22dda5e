"""The items of an attempt: each is recorded in a commit of its own before the next one begins."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from interlock.contract.base import Message
from interlock.engine.commits import ActiveRun, Commits
from interlock.engine.held import Held
from interlock.engine.reports import DEFECT, NOT_KEPT, kept
from interlock.errors import Fatal
from interlock.ports import Clock, ItemRow, Place, Progress, Randomness, Vault
from interlock.rules.decision import Decision, Verdict
from interlock.rules.events import Fail, ItemSettled, Next, Retry
from interlock.rules.model import Item, Ref, Result, SecretRef
from interlock.rules.outcomes import Outcome, Reached, derive
from interlock.rules.retry import next_attempt
from interlock.steps.attempt import (
    Accepted,
    Attempt,
    Failed,
    ItemReport,
    ItemsEnded,
    Report,
    SettledItem,
    Skipped,
    Succeeded,
)
from interlock.steps.documents import decode
from interlock.steps.kind import Step

_log = logging.getLogger(__name__)


def remaining(ref: Ref, rows: Iterable[ItemRow], vault: Vault) -> tuple[tuple[Item, ...], dict[int, SettledItem]]:
    """Return the open items of a step in their order, and the settled items by number, with their secrets.

    Args:
        ref: The run.
        rows: The items of all attempts at the step, attempt by attempt.
        vault: Opens the outputs that hold secrets.

    Raises:
        SecretUnreadable: One of those outputs cannot be opened.
    """
    names: dict[int, Item] = {}
    settled: dict[int, SettledItem] = {}
    for row in rows:
        item = names.setdefault(row.item, Item(row.item, row.name))
        if row.outcome is not None and not row.again:
            output = _returned(vault, Place.output(ref, row.position, row.item), row.output, row.sealed)
            settled[row.item] = SettledItem(item, row.outcome, output, row.error, row.reached)
    return tuple(item for number, item in sorted(names.items()) if number not in settled), settled


def _returned(
    vault: Vault, place: Place, output: bytes | None, sealed: SecretRef | None
) -> Mapping[str, object] | None:
    """Return the output of an item, with its secrets; None if it has none."""
    whole = output if sealed is None else vault.reveal(place, sealed).document
    return None if whole is None else decode(whole)


class AttemptItems:
    """`steps.kind.Items` for the attempt in flight of one run."""

    def __init__(
        self, commits: Commits, clock: Clock, chance: Randomness, active: ActiveRun, held: Held, attempt: Attempt
    ) -> None:
        self._commits = commits
        self._clock = clock
        self._chance = chance
        self._held = held
        self._attempt = attempt
        self._step: Step[Message] = active.plan.steps[attempt.attempt.position].step
        self._announced = active.items
        self._left = deque(active.items)
        self._settled = dict(active.settled_items)
        self._outcomes: list[Outcome] = []
        """The outcomes of the items that ended in this attempt."""
        self._again: list[tuple[int, Failed]] = []
        """The failed items that the next attempt retries: the time of the retry, and the failure."""
        self._cut = False
        self._ended = False
        self.several: Final = bool(self._announced or self._settled)
        """Whether the step has items."""

    @property
    def open(self) -> tuple[Item, ...]:
        return tuple(self._left)

    @property
    def settled(self) -> Mapping[int, SettledItem]:
        return self._settled

    def key(self, number: int) -> str | None:
        return None if self._attempt.key is None else f"{self._attempt.key}:{number}"

    async def settle(self, number: int, report: ItemReport) -> None:
        if self._ended:
            raise ItemsEnded
        if not self._left or self._left[0].number != number:
            raise ValueError(f"item {number} is not the one that is performed now")
        report = self._attempt.masked(report)
        # An interrupt does not cancel this commit: the item has ended, and its outcome has to be recorded.
        interrupted = self._held.end()
        now = self._clock.now()
        result, again_at = self._interpreted(report, now)
        decision = await self._record(ItemSettled(now, self._attempt.attempt, number, result, again_at is not None))
        self._took(report, result, again_at)
        if decision is None or decision.verdict is Verdict.SUPERSEDED:
            self._end(cut=True)
        if self.failure is not None:
            self._end(cut=False)
        if self._left and (interrupted or not self._held.begin(self._attempt.attempt.epoch)):
            self._end(cut=True)

    def _end(self, *, cut: bool) -> None:
        self._ended, self._cut = True, cut
        raise ItemsEnded

    def _interpreted(self, report: ItemReport, now: int) -> tuple[Result, int | None]:
        """Return the result to record, and the time of the retry; None if the item is not retried."""
        progress = self._attempt.progress
        match report:
            case Succeeded(output, status):
                text, sealed, error = kept(self._attempt, output, self._left[0].number)
                return Result(Outcome.SUCCEEDED, text, error, status, progress.phase, sealed=sealed), None
            case Skipped():
                return Result(Outcome.SKIPPED), None
            case Failed(error, reached, status, retries, last_start):
                result = Result(Outcome.FAILED, None, error, status, progress.phase, reached)
                number = self._attempt.attempt.number
                return result, next_attempt(retries, number, now, self._chance.chance(), last_start)

    async def _record(self, event: ItemSettled) -> Decision | None:
        """Commit the item with its output; if that fails, its outcome only."""
        try:
            return await self._commits.apply(self._attempt.ref, event)
        except Fatal:
            raise
        except Exception:  # noqa: BLE001 - the item has ended, and no defect of the server may change that
            _log.exception("recording item %s of execution %s with its output failed", event.item, self._attempt.ref.id)
        bare = replace(event.result, output=None, sealed=None, error=NOT_KEPT)
        return await self._commits.apply(self._attempt.ref, replace(event, result=bare))

    def _took(self, report: ItemReport, result: Result, again_at: int | None) -> None:
        item = self._left.popleft()
        assert result.outcome is not None
        self._outcomes.append(result.outcome)
        self._attempt.progress = Progress()
        if isinstance(report, Failed) and again_at is not None:
            self._again.append((again_at, report))
            return
        place = Place.output(self._attempt.ref, self._attempt.attempt.position, item.number)
        output = _returned(self._attempt.vault, place, result.output, result.sealed)
        self._settled[item.number] = SettledItem(item, result.outcome, output, result.error, result.reached)

    # --- the result of the attempt, from its items ------------------------------------------------------------------

    @property
    def failure(self) -> tuple[Result, Next] | None:
        """The result of the attempt if an item failed and the step does not tolerate that; else None.

        How far the failed item got is said by its own row: the attempt says nothing, since the next item has not begun.
        """
        if not self._settled or self._step.tolerates_failed_items:
            return None
        failed = next((each for each in self._settled.values() if each.outcome is Outcome.FAILED), None)
        if failed is None:
            return None
        return Result(Outcome.FAILED, error=failed.error), Fail(self._attempt.attempt.position)

    def interpreted(self, report: Report) -> Report | tuple[Result, Next]:
        """Return the report of a step with items, or the result that they give to the attempt.

        Raises:
            TypeError, ValueError: The report contradicts the items, which is a defect of the step kind.
        """
        if isinstance(report, Accepted):
            raise TypeError(f"{self._step.kind} has items, and an item cannot be answered later")
        if isinstance(report, Failed):
            return report
        if self._left:
            raise ValueError(f"{self._step.kind} left {len(self._left)} items open and reported success")
        if not self._again:
            return report
        at, failed = min(self._again, key=lambda each: each[0])
        return Result(Outcome.FAILED, error=failed.error), Retry(self._attempt.attempt.position, at)

    async def ended(self) -> Outcome | tuple[Result, Next]:
        """Return the result of an attempt that `settle` ended."""
        return await self.interrupted() if self._cut or self.failure is None else self.failure

    async def interrupted(self) -> Outcome:
        """Record the item that an interrupt cut, and return the outcome of the attempt.

        If the interrupt came between two items, the next item is recorded as not sent.
        """
        cut = Outcome.INTERRUPTED_NOT_SENT if self._ended else self._step.interruption(self._attempt.progress)
        if not self._announced:
            return cut
        if not self._left:
            return derive(self._outcomes)
        progress, attempt = self._attempt.progress, self._attempt
        result = Result(cut, status=progress.status, phase=progress.phase)
        await self._record(ItemSettled(self._clock.now(), attempt.attempt, self._left[0].number, result))
        return derive([*self._outcomes, cut])

    def proven(self) -> tuple[Result, Next] | None:
        """Return the result of an attempt that a defect ended between two items; None if an item is in doubt."""
        if self._step.interruption(self._attempt.progress) is not Outcome.INTERRUPTED_NOT_SENT:
            return None
        following = Fail(self._attempt.attempt.position)
        if not self._left and derive(self._outcomes or [Outcome.SUCCEEDED]) is Outcome.SUCCEEDED:
            return Result(Outcome.SUCCEEDED, error=NOT_KEPT), following
        reached = Reached.ANSWERED if self._outcomes else Reached.NOT_SENT
        return Result(Outcome.FAILED, error=DEFECT, reached=reached), following
