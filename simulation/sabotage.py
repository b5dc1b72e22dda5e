"""Servers that are wrong on purpose. The oracle has to find each of them out: one that it misses is a hole in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from interlock.ports import Http, Phase, Progress
from interlock.rules.decide import decide
from interlock.rules.decision import (
    AuditRecord,
    CallbackTaken,
    Decision,
    Interrupt,
    ItemRecord,
    StepSettled,
    Verdict,
    WakeAt,
)
from interlock.rules.events import (
    CalledBack,
    DeadlinePassed,
    Event,
    ItemSettled,
    Prepared,
    Recovered,
    Settled,
    Terminated,
)
from interlock.rules.follow import follow, make_ready
from interlock.rules.model import Situation
from interlock.rules.outcomes import INTERRUPTED, Outcome
from interlock.rules.states import TERMINAL, State, WaitingFor
from interlock.steps.attempt import Attempt, Items, ItemsEnded, Report, Succeeded
from interlock.steps.kind import StepKind
from interlock.store.sqlite.executions import Rules
from simulation import recipients
from simulation.disk import DATABASE, FILES
from simulation.recipients import MailStep, kinds


@dataclass(frozen=True, slots=True)
class Sabotage:
    """What is wrong."""

    name: str
    finds: frozenset[str] = frozenset()
    """The properties one of which has to be seen to be broken."""
    rules: Rules = decide
    disk_lies: tuple[str, ...] = ()
    """How the names of files end whose syncs only say that they were done."""
    reads_late: bool = False
    """Reads show a run as it was at the previous read."""
    children_escape: bool = False
    """A cascade stops the named run alone."""
    tells_tenants_apart: bool = False
    """Another tenant's id is refused in other words than an unknown one."""
    misreports: Callable[[Progress], None] | None = None
    """What is noted, when a call is cut, of how far it had got."""
    kinds: Callable[[Http], Sequence[StepKind]] = recipients.kinds
    """The kinds with items."""


NONE: Final = Sabotage("nothing")


def revives(situation: Situation, event: Event) -> Decision:
    """After a crash a stopping run goes on like any other."""
    execution = situation.execution
    if isinstance(event, Recovered) and execution.state is State.STOPPING:
        running = replace(execution, state=State.PROCESS_STEP)
        return make_ready(replace(situation, execution=running), running.step, event.at, ())
    return decide(situation, event)


def goes_on(situation: Situation, event: Event) -> Decision:
    """The result of a stopping run's attempt enters its context, and the next step starts."""
    if isinstance(event, Settled) and situation.execution.state is State.STOPPING:
        running = replace(situation.execution, state=State.PROCESS_STEP)
        return decide(replace(situation, execution=running), event)
    return decide(situation, event)


def overwrites(situation: Situation, event: Event) -> Decision:
    """An order is written over whatever the run has come to."""
    execution = situation.execution
    if isinstance(event, Terminated) and execution.state in {State.DONE, State.ERROR}:
        waiting = replace(execution, state=State.WAITING, completed_at=None)
        return decide(replace(situation, execution=waiting), event)
    return decide(situation, event)


def takes_over(situation: Situation, event: Event) -> Decision:
    """A second order is told that it was accepted, as the first was."""
    decision = decide(situation, event)
    if isinstance(event, Terminated) and decision.verdict is Verdict.REPEATED:
        return replace(decision, verdict=Verdict.ACCEPTED)
    return decision


def late_result_counts(situation: Situation, event: Event) -> Decision:
    """Every answer to a waiting run is believed, whatever the run has become since."""
    execution = situation.execution
    if isinstance(event, CalledBack) and execution.state is State.TERMINATE:
        waits = WaitingFor.CALLBACK
        waiting = replace(execution, state=State.WAITING, waiting_for=waits, wake_at=None, completed_at=None)
        return decide(replace(situation, execution=waiting), event)
    return decide(situation, event)


def forgets_the_callback(situation: Situation, event: Event) -> Decision:
    """A callback that was accepted while its step was attempted is dropped when the attempt ends."""
    decision = decide(replace(situation, callback=None), event)
    if situation.callback is not None and decision.moved and not decision.execution.in_flight:
        return replace(decision, records=(*decision.records, CallbackTaken(situation.execution.step)))
    return decision


def prepared_wins(situation: Situation, event: Event) -> Decision:
    """What was prepared is announced, whatever the run has become meanwhile."""
    execution = situation.execution
    if isinstance(event, Prepared) and execution.state is State.TERMINATE:
        waiting = replace(execution, state=State.PENDING, completed_at=None)
        return follow(replace(situation, execution=waiting), event.next, event.at, event.holder)
    return decide(situation, event)


def forgets_the_deadline(situation: Situation, event: Event) -> Decision:
    """A draining run waits for its attempt for as long as that takes."""
    if isinstance(event, DeadlinePassed):
        return replace(decide(situation, event), execution=situation.execution, records=(), effects=(), moved=False)
    return decide(situation, event)


def leaves_no_audit(situation: Situation, event: Event) -> Decision:
    """A termination without the row that says whose it was."""
    decision = decide(situation, event)
    if isinstance(event, Terminated):
        return replace(decision, records=tuple(r for r in decision.records if not isinstance(r, AuditRecord)))
    return decision


def never_started(situation: Situation, event: Event) -> Decision:
    """An attempt that was given up is recorded as if it had never begun."""
    decision = decide(situation, event)
    records = tuple(
        replace(record, result=replace(record.result, outcome=Outcome.NOT_STARTED))
        if isinstance(record, StepSettled) and record.result.outcome is Outcome.ABANDONED
        else record
        for record in decision.records
    )
    return replace(decision, records=records)


def settles_nothing(situation: Situation, event: Event) -> Decision:
    """A run is stopped, and its attempt in flight has no outcome."""
    decision = decide(situation, event)
    if situation.execution.state is State.STOPPING and decision.execution.state is State.TERMINATE:
        return replace(decision, records=tuple(r for r in decision.records if not isinstance(r, StepSettled)))
    return decision


def always_stopping(situation: Situation, event: Event) -> Decision:
    """A run that only waits is stopped in two steps, too, although nothing is in flight."""
    execution = situation.execution
    decision = decide(situation, event)
    if isinstance(event, Terminated) and decision.moved and execution.state is State.WAITING:
        at = event.at + event.request.deadline
        row = replace(decision.execution, state=State.STOPPING, wake_at=at, completed_at=None)
        return replace(decision, execution=row, effects=(WakeAt(row.ref, at),))
    return decision


def keeps_a_timer(situation: Situation, event: Event) -> Decision:
    """A stopped run keeps the time at which it would have been woken."""
    decision = decide(situation, event)
    if isinstance(event, Terminated) and decision.moved and decision.execution.state in TERMINAL:
        return replace(decision, execution=replace(decision.execution, wake_at=event.at + 1))
    return decision


def sends_no_interrupt(situation: Situation, event: Event) -> Decision:
    """An order is recorded, and the interrupt forgotten."""
    decision = decide(situation, event)
    return replace(decision, effects=tuple(effect for effect in decision.effects if not isinstance(effect, Interrupt)))


def recovers_nothing(situation: Situation, event: Event) -> Decision:
    """What a dead process left in flight stays as it is."""
    decision = decide(situation, event)
    if isinstance(event, Recovered):
        return Decision(Verdict.SUPERSEDED, situation.execution)
    return decision


def nothing_was_sent(progress: Progress) -> None:
    """Whatever was cut is said not to have left."""
    progress.phase, progress.bytes_written = Phase.IDLE, 0


def everything_was_sent(progress: Progress) -> None:
    """Whatever was cut is said to have left, although not a byte had."""
    progress.phase, progress.bytes_written, progress.status = Phase.WAITING, 1, None


def forgets_an_item(situation: Situation, event: Event) -> Decision:
    """An item is said to be recorded, and is not."""
    decision = decide(situation, event)
    if isinstance(event, ItemSettled):
        return replace(decision, records=tuple(r for r in decision.records if not isinstance(r, ItemRecord)))
    return decision


def announces_all_items(situation: Situation, event: Event) -> Decision:
    """An item that is done is announced again with those that are open."""
    if isinstance(event, ItemSettled) and event.result.outcome is Outcome.SUCCEEDED:
        return decide(situation, replace(event, again=True))
    return decide(situation, event)


def calls_items_done(situation: Situation, event: Event) -> Decision:
    """An item that failed is recorded as done."""
    if isinstance(event, ItemSettled) and event.result.outcome is Outcome.FAILED and not event.again:
        return decide(situation, replace(event, result=replace(event.result, outcome=Outcome.SUCCEEDED)))
    return decide(situation, event)


def calls_cut_items_done(situation: Situation, event: Event) -> Decision:
    """An item that a stop cut is recorded as done, because the one before it was."""
    if isinstance(event, ItemSettled) and event.result.outcome in INTERRUPTED:
        return decide(situation, replace(event, result=replace(event.result, outcome=Outcome.SUCCEEDED)))
    return decide(situation, event)


def repeats_everything(situation: Situation, event: Event) -> Decision:
    """After a crash every attempt is made again, whatever its kind permits."""
    return decide(situation, replace(event, repeatable=True) if isinstance(event, Recovered) else event)


class LenientStep(MailStep):
    """Goes on after a failed item, whatever its message says."""

    def __init__(self, http: Http, name: str, names: Sequence[str], *, tolerant: bool) -> None:
        super().__init__(http, name, names, tolerant=True)


class HeedlessStep(MailStep):
    """Goes on with the next item although it was told that none may begin."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            report = await self.called(attempt, items, item)
            with suppress(ItemsEnded):
                await items.settle(item.number, report)
        return Succeeded({})


def _named(*properties: str) -> frozenset[str]:
    return frozenset(properties)


SABOTAGES: Final = (
    Sabotage("a disk that lies", _named("S1", "S3"), disk_lies=FILES),
    Sabotage("a disk that lies about checkpoints", _named("S1", "S3"), disk_lies=(DATABASE,)),
    Sabotage("a run revived by recovery", _named("S8", "L1"), revives),
    Sabotage("a result that goes on after the stop", _named("S2", "S8"), goes_on),
    Sabotage("an order over a finished run", _named("S4", "S5"), overwrites),
    Sabotage("a second order that takes over", _named("S6"), takes_over),
    Sabotage("a late result that counts", _named("S4", "S7", "S8"), late_result_counts),
    Sabotage("a kept callback that is forgotten", _named("S7", "S9"), forgets_the_callback),
    Sabotage("a prepared step that wins over the stop", _named("S2", "S4", "S8", "S14"), prepared_wins),
    Sabotage("a deadline that is forgotten", _named("L1"), forgets_the_deadline),
    Sabotage("no audit row", _named("S16"), leaves_no_audit),
    Sabotage("given up is called never started", _named("S9"), never_started),
    Sabotage("no outcome", _named("S9", "S10"), settles_nothing),
    Sabotage("stopping with nothing in flight", _named("S12"), always_stopping),
    Sabotage("a timer left behind", _named("S13"), keeps_a_timer),
    Sabotage("an interrupt that is not sent", _named("S2"), sends_no_interrupt),
    Sabotage("cut is called not sent", _named("S9"), misreports=nothing_was_sent),
    Sabotage("not sent is called unknown", _named("S9"), misreports=everything_was_sent),
    Sabotage("children that escape the cascade", _named("S11"), children_escape=True),
    Sabotage("reads behind the commit", _named("S14"), reads_late=True),
    Sabotage("a tenant that can be told from an unknown one", _named("S15"), tells_tenants_apart=True),
    Sabotage("no recovery", _named("L1"), recovers_nothing),
    Sabotage("an item that is not recorded before the next", _named("I1"), forgets_an_item),
    Sabotage("a done item that is performed again", _named("I2"), announces_all_items),
    Sabotage("a failed item that does not end its step", _named("I3"), kinds=partial(kinds, mail=LenientStep)),
    Sabotage("an item that begins after the stop", _named("S2"), kinds=partial(kinds, mail=HeedlessStep)),
    Sabotage("an item that may not be repeated, repeated", _named("I4"), repeats_everything),
    Sabotage("a failed item that is called done", _named("S9"), calls_items_done),
    Sabotage("a cut item that is called done", _named("S9"), calls_cut_items_done),
)
"""Each property is broken by at least one of them."""
