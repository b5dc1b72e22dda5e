"""Mutants that no test can notice, because they mean the same: neither killed nor survived.

Each is named as the tool prints it, by its function and the text of its statement, and has its reason. One that is
found no more fails a test, so that the list stays as short as it can be.
"""

from __future__ import annotations

from typing import Final

from tools.mutants.statements import AnyMutant

ONE_ATTEMPT: Final = "with one attempt in all, numbered from 1, the gap is never looked at"
FOR_THE_TYPES: Final = "said for the type checker alone: what it excludes cannot be there"
SAME_ROW: Final = "the row of a first attempt began when the run was last written, which is what is taken otherwise"
NO_EPOCH: Final = "an attempt's epoch is 2 or more, and 0 means that there is none"
NO_WAKE: Final = "a run that is over has no time to be looked at again, and the next question answers the same"
ONE_OPEN_ROW: Final = "the only open row of a run in flight is that of its attempt"
ONE_TRANSACTION: Final = "nothing moves between two statements of one transaction"
CURRENT: Final = "only an attempt in flight is the current one, and it has not settled"
KEY_ORDER: Final = "the primary key gives the rows in that order"
SET_WITH_ENDED: Final = "read only after `_end` has set it"
NOTHING_FAILED: Final = "where no item has settled, none has failed, and the search finds none"
NOTHING_IS_DONE: Final = "no outcomes at all are derived as SUCCEEDED"
CUT_REFUSES: Final = "an interrupt of the attempt also refuses its next `begin`"
NARROWER: Final = "narrows down what the join finds anyway, so that an index is taken"
ONE_IS_FETCHED: Final = "only the first row is fetched"
NOT_ATTEMPTED: Final = "a step that was not attempted yet has no row, and is prepared"
SAME_READING: Final = "the row that is there is the one that is read"
NO_MARK: Final = "any number below 0 says that there is no mark"
STOPS_ITSELF: Final = "nothing is prepared for a run that was terminated"
READ_AGAIN: Final = "a run that does not go on at once is loaded again anyway"
NUMBERED_FROM_1: Final = "the first attempt at a step has the number 1, and no other has"
ONE_KEPT_CALLBACK: Final = "only the settlement of a call can find a callback that came before"
ITEM_ENDED_IT: Final = "the end of the item was also that of the attempt"
ENDS_ALONE: Final = "a change that ends at once has one record of its step: its end"
READ_WITH_THE_ATTEMPT: Final = "what is not known is read from the same row before the attempt is made"
AS_MANY: Final = "the statement has refused any other number of values"

_RULES: Final = "interlock.rules."
_ENGINE: Final = "interlock.engine."
_SQL: Final = "interlock.store.sql.sqlite.terminations:"

_STOPS: Final = "interlock.store.sqlite.stops:"
_SQLITE_TX: Final = "interlock.store.sqlite.tx:"
_EXPECTED: Final = "expected = dict(zip(change.columns, values, strict=True))"
_DOOMED: Final = "(SELECT id FROM temp.doomed)"
_OTHER: Final = "row.attempt_epoch != event.attempt.epoch:"
_STARTS: Final = "first = await self._following.first_row(execution) if execution.attempt > 1 else None"
_CUTS: Final = "if 0 < self.performing < epoch and (not self._cutting) and (self.task is not None):"
_NOT_ACCEPTED: Final = "record.accepted is None for record in records"
_BEGINS: Final = "(not self._held.begin(self._attempt.attempt.epoch))"
_NEXT_ITEM: Final = f"if self._left and (interrupted or {_BEGINS[1:-1]}):"
_RETRIED: Final = "again_at is not None"
_TOLERATED: Final = "self._step.tolerates_failed_items:"
_ENTERED: Final = "if first is not None and first.input is not None:"
_FIRST: Final = "return min(rows, key=lambda row: row.attempt, default=None)"
_MARK: Final = "mark = -1 if active.plan.is_plain(position) else self._marks.begin(active.ref)"
_FAILED_BEFORE: Final = "if items.several and items.failure is not None:"
_ENDS: Final = (
    "closed = (each for each in decision.records if isinstance(each, StepClosed) and each.position == position)"
)
_DEFECT: Final = "return await items.interrupted() if proven is None or interrupted else proven"
_UNTIL: Final = "until = (execution.wake_at or self._clock.now()) + (row.wait_left or 0)"
_GOES_ON: Final = (
    "if isinstance(report, Succeeded) and following is None and (not held.stopped) and (not held.closing):"
)
_FOLLOWED: Final = (
    "if isinstance(report, Succeeded) and following is None and (held.cut <= ref.epoch) and (not held.closing):"
)
_CALLED_BACK: Final = (
    "if row.state is State.PENDING and isinstance(event, Settled) and isinstance(following, _NO_SUCCESS):"
)
_CHANGED: Final = "if isinstance(following, Change) and row.state is State.PENDING:"
_ENTERS: Final = "if row.step != before.step or row.attempt <= 1:"
_ALL_DONE: Final = "if not self._left and derive(self._outcomes or [Outcome.SUCCEEDED]) is Outcome.SUCCEEDED:"
_DUE: Final = "(execution.wake_at or 0)"
_OVERDUE: Final = "if execution is None or execution.state is not State.STOPPING or (execution.wake_at or 0) > now:"

EQUIVALENT: Final[dict[str, str]] = {
    **{
        f"{_RULES}retry:<module>: NO_RETRIES = RetryPolicy(attempts=1, min_gap=0, max_gap=0)"
        f" => NO_RETRIES = RetryPolicy({changed})": ONE_ATTEMPT
        for changed in (
            "attempts=0, min_gap=0, max_gap=0",
            "attempts=1, min_gap=1, max_gap=0",
            "attempts=1, min_gap=0, max_gap=1",
        )
    },
    f"{_RULES}decide:_deadline_passed: if execution.wake_at is not None and event.at < execution.wake_at:"
    " => if event.at < execution.wake_at:": FOR_THE_TYPES,
    f"{_RULES}follow:_open_at: return not any((isinstance(record, StepSettled) and {_NOT_ACCEPTED}))"
    f" => return not any(({_NOT_ACCEPTED}))": FOR_THE_TYPES,
    f"{_RULES}outcomes:shown_items: if not INTERRUPTED.isdisjoint("
    "{outcome for outcome in found if outcome is not None}):"
    " => if not INTERRUPTED.isdisjoint({outcome for outcome in found}):": FOR_THE_TYPES,
    f"{_ENGINE}held:Held.interrupt: {_CUTS} => {_CUTS.replace('0 <', '1 <')}": NO_EPOCH,
    f"{_ENGINE}held:Held.end: return self.task is not None and self.task.uncancel() == 0"
    " => return self.task.uncancel() == 0": FOR_THE_TYPES,
    **{
        f"{_ENGINE}attempts:Attempts.make: {_STARTS} => {changed}": SAME_ROW
        for changed in (
            "first = await self._following.first_row(execution)",
            _STARTS.replace("> 1", ">= 1"),
            _STARTS.replace("> 1", "> 0"),
        )
    },
    **{
        f"{_ENGINE}advance:Advance.overdue: {_OVERDUE} => {_OVERDUE.replace(_DUE, changed)}": FOR_THE_TYPES
        for changed in ("(execution.wake_at or 1)", "execution.wake_at")
    },
    f"{_ENGINE}advance:Advance.advance: if state in TERMINAL or state is State.PAUSED_BY_CIRCUIT_BREAKER:"
    " => if state is State.PAUSED_BY_CIRCUIT_BREAKER:": NO_WAKE,
    f"{_ENGINE}advance:Advance._refuse: if execution.state is not State.WAITING or by is None:"
    " => if execution.state is not State.WAITING:": FOR_THE_TYPES,
    f"{_ENGINE}advance:Advance.carry: if state is State.PENDING and execution.wake_at is not None:"
    " => if state is State.PENDING:": FOR_THE_TYPES,
    **{
        f"{_ENGINE}items:AttemptItems.__init__: self._cut = False => {changed}": SET_WITH_ENDED
        for changed in ("self._cut = True", "pass")
    },
    f"{_ENGINE}items:AttemptItems.settle: {_NEXT_ITEM} => if self._left and {_BEGINS}:": CUT_REFUSES,
    f"{_ENGINE}items:AttemptItems._took: if isinstance(report, Failed) and {_RETRIED}:"
    f" => if {_RETRIED}:": FOR_THE_TYPES,
    f"{_ENGINE}items:AttemptItems.failure: if not self._settled or {_TOLERATED} => if {_TOLERATED}": NOTHING_FAILED,
    **{
        f"{_ENGINE}items:AttemptItems.proven: {_ALL_DONE}"
        f" => {_ALL_DONE.replace(' or [Outcome.SUCCEEDED]', changed)}": NOTHING_IS_DONE
        for changed in ("", " or []")
    },
    f"{_ENGINE}commits:Commits.apply: continue => pass": "it is the last statement of its loop",
    f"{_ENGINE}commits:_is_own: if mine is None or row.attempt_epoch == attempt.epoch: => if mine is None:": CURRENT,
    f"{_ENGINE}commits:Commits.commit: {_CALLED_BACK}"
    f" => {_CALLED_BACK.replace('isinstance(event, Settled) and ', '')}": ONE_KEPT_CALLBACK,
    f"{_ENGINE}commits:Commits.commit: {_CALLED_BACK}"
    f" => {_CALLED_BACK.replace('row.state is State.PENDING and ', '')}": READ_AGAIN,
    f"{_ENGINE}commits:Commits.commit: {_CHANGED} => if isinstance(following, Change):": READ_AGAIN,
    f"{_ENGINE}commits:Commits.commit: {_ENTERS} => if row.attempt <= 1:": NUMBERED_FROM_1,
    f"{_ENGINE}commits:Commits._take_output: {_ENDS} => {_ENDS.replace('isinstance(each, StepClosed) and ', '')}": (
        ENDS_ALONE
    ),
    f"{_ENGINE}following:Following.entered: active.began_at = first.started_at => pass": READ_WITH_THE_ATTEMPT,
    f"{_ENGINE}following:Following.entered: if execution.attempt > 0: => if execution.attempt >= 0:": NOT_ATTEMPTED,
    f"{_ENGINE}following:Following.entered: {_ENTERED} => if first.input is not None:": FOR_THE_TYPES,
    **{
        f"{_ENGINE}following:Following.entered: announced = Announced(input=first.input, key=first.key)"
        f" => announced = Announced({changed})": SAME_READING
        for changed in ("key=first.key", "input=first.input")
    },
    f"{_ENGINE}following:Following.at_position: {_MARK} => {_MARK.replace('-1', '-2')}": NO_MARK,
    f"{_ENGINE}following:Following.first_row: {_FIRST} => {_FIRST.replace(', default=None', '')}": NOT_ATTEMPTED,
    f"{_ENGINE}attempts:Attempts._perform: {_FAILED_BEFORE} => if items.failure is not None:": NOTHING_FAILED,
    f"{_ENGINE}attempts:Attempts._perform: {_DEFECT} => {_DEFECT.replace('proven is None or ', '')}": FOR_THE_TYPES,
    f"{_ENGINE}attempts:Attempts._perform: held.end() => pass": ITEM_ENDED_IT,
    **{
        f"{_ENGINE}polls:Polls.poll: {_UNTIL} => until = {changed}": FOR_THE_TYPES
        for changed in (
            "execution.wake_at + (row.wait_left or 0)",
            "(execution.wake_at or self._clock.now()) + row.wait_left",
        )
    },
    f"{_ENGINE}attempts:Attempts.make: {_FOLLOWED}"
    " => if following is None and held.cut <= ref.epoch and (not held.closing):": FOR_THE_TYPES,
    f"{_ENGINE}polls:Polls._settle: {_GOES_ON}"
    " => if following is None and (not held.stopped) and (not held.closing):": FOR_THE_TYPES,
    f"{_ENGINE}polls:Polls._settle: {_GOES_ON} => {_GOES_ON.replace('(not held.stopped) and ', '')}": STOPS_ITSELF,
    f"{_ENGINE}attempts:Attempts._settle_cut: if row.state is not State.PROCESS_STEP or {_OTHER}"
    f" => if {_OTHER}": CURRENT,
    **{
        f"{_SQLITE_TX}SqliteTx.write: {_EXPECTED} => {_EXPECTED.replace(', strict=True', changed)}": AS_MANY
        for changed in ("", ", strict=False")
    },
    f"{_STOPS}<module>: more: bool = False => more: bool = True": "a batch has no more, and no caller reads it",
    f"{_SQL}doomed_tree: _parent ON e.tenant = :tenant AND e.parent IS NOT NULL AND e.parent = below.id ) INSE"
    " => _parent ON e.tenant = :tenant AND e.parent = below.id ) INSE": NARROWER,
    f"{_SQL}doomed_sharpen: terminations.tenant = :tenant AND terminations.execution IN {_DOOMED}"
    " AND d.id = terminations.execut => terminations.tenant = :tenant AND d.id = terminations.execut": NARROWER,
    f"{_SQL}doomed_abandon: WHERE steps.tenant = :tenant AND steps.execution IN {_DOOMED}"
    " AND d.id = steps.execution AND => WHERE steps.tenant = :tenant AND d.id = steps.execution AND": NARROWER,
    f"{_SQL}doomed_abandon: AND d.id = steps.execution AND d.step = steps.position AND d.attempt = steps.attempt"
    " => AND d.id = steps.execution AND d.attempt = steps.attempt": ONE_OPEN_ROW,
    f"{_SQL}doomed_abandon: n AND d.step = steps.position AND d.attempt = steps.attempt AND d.state IN ('PROCESS_STEP'"
    " => n AND d.step = steps.position AND d.state IN ('PROCESS_STEP'": ONE_OPEN_ROW,
    f"{_SQL}doomed_abandon: NG') AND d.deadline_at <= :at AND steps.outcome IS NULL"
    " => NG') AND d.deadline_at <= :at": ONE_OPEN_ROW,
    f"{_SQL}doomed_move: E executions.tenant = :tenant AND executions.id IN {_DOOMED} AND d.id = executions.id AND d"
    " => E executions.tenant = :tenant AND d.id = executions.id AND d": NARROWER,
    f"{_SQL}doomed_move: AND d.id = executions.id AND d.state = executions.state AND d.epoch = executions.epoch"
    " => AND d.id = executions.id AND d.epoch = executions.epoch": ONE_TRANSACTION,
    f"{_SQL}doomed_move: ND d.state = executions.state AND d.epoch = executions.epoch"
    " => ND d.state = executions.state": ONE_TRANSACTION,
    f"{_SQL}doomed_all: CT id, state FROM temp.doomed ORDER BY id => CT id, state FROM temp.doomed": KEY_ORDER,
    f"{_SQL}cascade_next: nant ORDER BY root, execution LIMIT 1 => nant ORDER BY root, execution": ONE_IS_FETCHED,
    f"{_SQL}cascade_next: scades WHERE tenant = :tenant ORDER BY root, execution LIMIT 1"
    " => scades WHERE tenant = :tenant LIMIT 1": KEY_ORDER,
    f"{_SQL}cascade_over: WHERE above.id <> :execution LIMIT 1 => WHERE above.id <> :execution": ONE_IS_FETCHED,
    f"{_SQL}cascade_over: cades c ON c.tenant = :tenant AND c.root = :root AND c.execution = above.id WHE"
    " => cades c ON c.tenant = :tenant AND c.execution = above.id WHE": NARROWER,
}


def is_equivalent(mutant: AnyMutant) -> bool:
    return str(mutant) in EQUIVALENT
