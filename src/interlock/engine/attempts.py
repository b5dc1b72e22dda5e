"""Attempts: an announced attempt is performed, and its outcome is committed together with what comes next."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from interlock.engine.commits import ActiveRun, Commits
from interlock.engine.following import Following
from interlock.engine.held import Held
from interlock.engine.items import AttemptItems
from interlock.engine.reports import ResultEvent, interpret, interpret_defect, lost, without_output
from interlock.errors import Fatal
from interlock.ports import Clock, Randomness, SecretUnreadable, Vault
from interlock.rules.decide import OUTCOME_UNKNOWN
from interlock.rules.decision import Verdict
from interlock.rules.events import Next, Settled
from interlock.rules.model import AttemptRef, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from interlock.steps.attempt import Attempt, Failed, ItemsEnded, Report, Succeeded
from interlock.steps.documents import error_document

_log = logging.getLogger(__name__)


class Attempts:
    """Performs the announced attempts of active runs."""

    def __init__(self, commits: Commits, following: Following, clock: Clock, chance: Randomness, vault: Vault) -> None:
        self._commits = commits
        self._following = following
        self._clock = clock
        self._chance = chance
        self._vault = vault

    async def make(self, active: ActiveRun, held: Held) -> bool:
        """Perform the announced attempt, and commit its outcome together with what comes next.

        Returns:
            False if the run has moved meanwhile, so that the caller must leave it alone.
        """
        execution = active.execution
        ref = AttemptRef(execution.step, execution.attempt, execution.attempt_epoch)
        if not active.began_at:
            first = await self._following.first_row(execution) if execution.attempt > 1 else None
            active.began_at = execution.updated_at if first is None else first.started_at
        attempt = Attempt(
            active.ref,
            execution.automation,
            ref,
            active.input,
            active.began_at,
            self._vault,
            active.sealed,
            key=active.key,
            apps=active.plan.apps,
        )
        items = AttemptItems(self._commits, self._clock, self._chance, active, held, attempt)
        report = await self._perform(active, held, attempt, items)
        now = self._clock.now()
        if isinstance(report, Outcome):
            progress = attempt.progress
            cut = Result(report, status=progress.status, phase=progress.phase)
            return await self._settle_cut(active, Settled(now, ref, cut, None, self._commits.holder))
        following: Next | None
        if isinstance(report, tuple):
            result, following = report
        else:
            result, following = interpret(report, attempt, now, self._chance.chance())
        # A run that is being terminated must not wait for the evaluation of a step that will not run.
        if isinstance(report, Succeeded) and following is None and held.cut <= ref.epoch and not held.closing:
            if held.cautious is not None:
                # The evaluation of the next step may crash the server; this attempt must not be repeated then.
                active.stale = True
            else:
                following = await self._following.after(active, held, report.output, now)
            now = self._clock.now()
        return await settle(self._commits, active, Settled(now, ref, result, following, self._commits.holder))

    async def _perform(
        self, active: ActiveRun, held: Held, attempt: Attempt, items: AttemptItems
    ) -> Report | Outcome | tuple[Result, Next]:
        """Perform the step. Returns its report, the outcome of an interrupt, or what is proven after a defect."""
        step = active.plan.steps[attempt.attempt.position].step
        if items.several and items.failure is not None:
            return items.failure
        if not held.begin(attempt.attempt.epoch):
            return Outcome.INTERRUPTED_NOT_SENT
        report: Report | tuple[Result, Next]
        try:
            report = attempt.masked(await step.perform(attempt, items))
            if items.several:
                report = items.interpreted(report)
        except ItemsEnded:
            held.end()
            return await items.ended()
        except asyncio.CancelledError:
            if not held.end():
                raise
            return await items.interrupted()
        except SecretUnreadable as error:
            held.end()
            return Failed(error_document(error.code, error.message), attempt.progress.reached)
        except Exception:
            interrupted = held.end()
            proven = items.proven() if items.several else interpret_defect(step, attempt)
            if proven is None and not interrupted:
                raise
            _log.exception("performing an attempt of execution %s failed", attempt.ref.id)
            return await items.interrupted() if proven is None or interrupted else proven
        except BaseException:
            held.end()
            raise
        held.end()
        return report

    async def _settle_cut(self, active: ActiveRun, event: Settled) -> bool:
        """Commit an interrupted attempt; if no termination was accepted, settle it as abandoned instead."""
        decision = await self._commits.apply(active.execution.ref, event)
        if decision is None:
            return False
        row = decision.execution
        active.execution = row
        if decision.verdict is not Verdict.SUPERSEDED:
            return True
        if row.state is not State.PROCESS_STEP or row.attempt_epoch != event.attempt.epoch:
            return False
        step = active.plan.steps[row.step].step
        again = lost(event.attempt, event.result, event.at, step, OUTCOME_UNKNOWN, self._commits.holder)
        return await self._commits.commit(active, again)


async def settle(commits: Commits, active: ActiveRun, event: ResultEvent) -> bool:
    """Commit the result of an attempt with what follows; if that fails, without it; if that fails, its outcome only.

    Returns:
        False if the run has moved meanwhile.
    """
    try:
        return await commits.commit(active, event)
    except Fatal:
        raise
    except Exception:  # noqa: BLE001 - the attempt has settled, and no defect of the server may change that
        _log.exception("recording an attempt of execution %s with its next step failed", active.execution.id)
    if event.result.outcome is Outcome.SUCCEEDED and event.next is not None:
        try:
            return await commits.commit(active, replace(event, next=None))
        except Fatal:
            raise
        except Exception:  # noqa: BLE001 - as above
            _log.exception("recording an attempt of execution %s without its next step failed", active.execution.id)
    return await commits.commit(active, without_output(event))
