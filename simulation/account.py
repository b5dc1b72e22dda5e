"""The judgement at the end of a world: every run is over, has one cause, one audit row, and a receipt that is true."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from interlock.assembly.system import System
from interlock.rules.model import Cause, Execution, Ref, Termination
from interlock.rules.outcomes import INTERRUPTED, Outcome, shown
from interlock.rules.states import TERMINAL, State
from simulation.coverage import Situation
from simulation.items import judge_step
from simulation.network import Call, Fate
from simulation.parts import World
from simulation.reads import finished
from simulation.verdicts import require

_LISTS: Final = ("done", "failed", "interrupted", "unknown", "neverStarted", "open")
_CALLS: Final = frozenset({"webhook", "sendEmail", "sendSlackMessage"})
"""Kinds of steps that call receivers."""
_CALLED_AND_FAILED: Final = frozenset({Fate.CALLED_FAILS, Fate.CALLED_RESET, Fate.CALLED_HANGS})
_BY_CAUSE: Final = {
    Cause.LEASE_EXPIRED: Situation.LEASE,
    Cause.TENANT_SWITCH: Situation.SWITCH,
    Cause.DELETE: Situation.DELETED,
    Cause.BREAKER_CANCEL: Situation.CANCELLED,
    Cause.CASCADE: Situation.CASCADE,
}
_CUTS: Final = {
    Outcome.INTERRUPTED_NOT_SENT: Situation.CUT_NOT_SENT,
    Outcome.INTERRUPTED_OUTCOME_UNKNOWN: Situation.CUT_UNKNOWN,
    Outcome.INTERRUPTED_RESPONSE: Situation.CUT_RESPONSE,
    Outcome.INTERRUPTED_WAITING: Situation.CUT_WAITING,
    Outcome.ABANDONED: Situation.ABANDONED,
}

LOST: Final = frozenset({Outcome.INTERRUPTED_OUTCOME_UNKNOWN, Outcome.INTERRUPTED_PARTLY})
"""What a crash, too, may leave of an attempt that is not made again."""


class Account:
    """Takes one world's account, when nothing in it moves any more."""

    def __init__(self, world: World, system: System) -> None:
        self._world = world
        self._system = system
        self._store = system.store
        self._tenant = system.tenant.id
        self.runs = 0
        self.terminations = 0
        self.receipts = 0

    async def judge(self) -> None:
        """
        Raises:
            Violated: something is not as it was promised.
        """
        rows = await self._store.executions.page(self._tenant, limit=100_000)
        self.runs = len(rows)
        audited = await self._audited()
        for row in rows:
            require(row.state in TERMINAL, "L1", f"{row.id} never comes to its end: {row.state} {row.waiting_for}")
            self._steps(row)
            self._items(row)
            self._cause(row, audited[str(row.id)])
            await self._receipt(row)
        dispatcher = self._system.dispatcher
        left = (dispatcher.busy, dispatcher.in_line, self._system.feed.watches, len(self._world.network.open))
        require(left == (0, 0, 0, 0), "S13", f"left behind: slots, line, watches, connections {left}")
        require(self._world.host.database_errors() == [], "S1", "the database is damaged")
        answer = await self._world.clients.ask_as_admin("POST", "/interlock/v1/audit/actions/verify", {})
        require(answer.status == 200 and answer.tree["intact"], "S16", f"the audit record: {answer.body!r}")

    async def _audited(self) -> Counter[str]:
        """How many rows say of each run that it was terminated."""
        found: Counter[str] = Counter()
        for row in await self._store.audit.rows(self._tenant, limit=1_000_000):
            if row.entry.action == "execution.terminate" and row.entry.outcome == "accepted":
                found[row.entry.target] += 1
        return found

    # --- the record of one run ------------------------------------------------------------------------------------

    def _steps(self, row: Execution) -> None:
        attempts = Counter[tuple[int, int]]()
        for step in finished(self._store.executions.steps(row.ref)):
            attempts[step.position, step.attempt] += 1
            outcome = shown(step.outcome, row.state)
            open_ = step.outcome is None and step.waiting_for is None
            require(not open_, "S10", f"{row.id} is over, and an attempt at step {step.position} has no outcome")
            require(outcome is not None, "S10", f"{row.id} is over, and step {step.position} has no outcome")
            if outcome in INTERRUPTED - LOST:
                require(row.state is State.TERMINATE, "S10", f"{row.id} is {row.state} with a step {outcome}")
            if outcome in _CUTS and row.state is State.TERMINATE:
                self._world.saw(_CUTS[outcome])
            if step.late is not None:
                self._world.saw(Situation.LATE)
        require(all(count == 1 for count in attempts.values()), "S10", f"{row.id} has two rows of one attempt")

    def _items(self, row: Execution) -> None:
        items = finished(self._store.executions.items(row.ref))
        if not items:
            return
        steps = finished(self._store.executions.steps(row.ref))
        for position in sorted({item.position for item in items}):
            of_step = [item for item in items if item.position == position]
            judge_step(self._world, row, [step for step in steps if step.position == position], of_step)

    def _cause(self, row: Execution, audited: int) -> None:
        termination = finished(self._store.executions.termination(row.ref))
        orders = [order for order in self._world.clients.orders if order.execution == row.id]
        accepted = [order for order in orders if order.verdict == "accepted"]
        require(len(accepted) <= 1, "S6", f"{row.id}: accepted {len(accepted)} times")
        require(audited == (row.state is State.TERMINATE), "S16", f"{row.id} is {row.state} with {audited} audit rows")
        for order in orders:
            if order.verdict in {"accepted", "repeated"}:
                require(row.state is State.TERMINATE, "S1", f"{row.id}: {order.verdict}, and it ended in {row.state}")
            if order.verdict == "already-finished":
                require(row.state in {State.DONE, State.ERROR}, "S5", f"{row.id}: finished, and it is {row.state}")
        if row.state is not State.TERMINATE:
            require(termination is None, "S5", f"{row.id} is {row.state}, and has a termination")
            return
        self.terminations += 1
        assert termination is not None
        for order in accepted:
            request = termination.request
            same = (request.actor.client, request.reason) == (order.client, order.reason)
            require(same, "S6", f"{row.id}: {order.reason} was accepted, and the record names {request.reason}")
        self._explained(row, termination)

    def _explained(self, row: Execution, termination: Termination) -> None:
        """Check that a client requested the termination as the record says."""
        clients, request, cause = self._world.clients, termination.request, termination.request.cause
        named = (request.actor.client, request.reason)
        by_one = {(order.client, order.reason) for order in clients.orders if order.execution == row.id}
        by_many = {(order.client, order.reason) for order in clients.bulks}
        match cause:
            case Cause.PERSON:
                fine = named in by_one or named in by_many
                if named in by_many and named not in by_one:
                    self._world.saw(Situation.BULK)
            case Cause.CASCADE:
                above = request.cause_execution
                cascades = {(o.client, o.reason) for o in clients.orders if o.cascade and o.execution == above}
                cascades |= {(o.client, o.reason) for o in clients.bulks if o.cascade}
                fine = named in cascades and above in self._ancestors(row)
            case Cause.TENANT_SWITCH:
                fine = bool(clients.disabled_at)
            case Cause.LEASE_EXPIRED:
                fine = any(started.lease for started in clients.starts.values() if started.automation == row.automation)
            case Cause.DELETE:
                fine = row.automation in clients.deletions
            case Cause.BREAKER_CANCEL:
                fine = row.automation in clients.cancellations
            case Cause.TENANT_REVOKED:
                fine = False
        require(fine, "S11", f"{row.id} was terminated by {cause} ({named}), and no client requested it")
        if cause in _BY_CAUSE:
            self._world.saw(_BY_CAUSE[cause])

    def _ancestors(self, row: Execution) -> set[int]:
        found: set[int] = set()
        while row.parent is not None:
            found.add(row.parent)
            above = finished(self._store.executions.get(Ref(row.tenant, row.parent)))
            if above is None:
                break
            row = above
        return found

    # --- the receipt, against the ledgers of the receivers ---------------------------------------------------------

    async def _receipt(self, row: Execution) -> None:
        answer = await self._world.clients.ask_as_admin("GET", f"/interlock/v1/executions/{row.id}/receipt")
        require(answer.status == 200, "S9", f"{row.id} has no receipt: {answer.status}")
        receipt = answer.tree
        require(receipt["state"] == row.state and receipt["settled"], "S14", f"the receipt of {row.id} is another's")
        require(not receipt.get("open"), "S10", f"the receipt of {row.id} has open steps")
        children = {child.id for child in await self._store.executions.children(row.ref)}
        told = {int(child["id"]) for child in receipt.get("children", ())}
        require(told == children, "S9", f"{row.id} started {children}, and its receipt says {told}")
        entries = [(name, entry) for name in _LISTS for entry in receipt.get(name) or ()]
        steps = Counter((entry["step"], entry.get("item", "")) for _, entry in entries)
        require(all(count == 1 for count in steps.values()), "S10", f"{row.id}: a step stands twice in its receipt")
        for name, entry in entries:
            if entry["kind"] in _CALLS:
                self._entry(row, name, entry, self._ledger(row.id, entry["step"], entry.get("item", "")), receipt)
        if row.state is State.TERMINATE:
            self.receipts += 1
            if children:
                self._world.saw(Situation.CHILD_BEFORE_STOP)
            if any(entry["kind"] == "runAutomation" for entry in receipt.get("neverStarted", ())):
                self._world.saw(Situation.CHILD_NEVER)

    def _ledger(self, execution: int, step: str, item: str) -> list[Call]:
        """What was sent for a step; with `item`, for that item of it."""
        of_step = [call for call in self._world.calls() if (call.execution, call.step) == (execution, step)]
        return [call for call in of_step if call.item == item] if item else of_step

    def _entry(self, row: Execution, name: str, entry: dict[str, Any], ledger: list[Call], receipt: Any) -> None:
        """Compare one entry of the receipt with the ledger of the receiver."""
        outcome, status = entry["outcome"], entry.get("status", 0)
        sent = [call for call in ledger if call.first_byte_at is not None]
        acted = [call for call in ledger if call.acted_at is not None]
        in_doubt = [call for call in sent if not call.seen]
        how = f"{row.id} {entry['step']}: {name} {outcome} {status}; receiver: {[_brief(call) for call in ledger]}"
        require(entry.get("attempts", 0) >= len(sent), "S3", how)
        called_back = any(200 in call.callbacks for call in ledger)
        if outcome in {Outcome.NOT_STARTED, Outcome.SKIPPED}:
            require(not sent, "S9", how)
        elif outcome == Outcome.SUCCEEDED:
            require(bool(acted), "S9", how)
            answered = any(200 <= call.status < 300 and call.status != 202 for call in ledger)
            taken = any(not {0, 200}.isdisjoint(call.callbacks) for call in ledger)
            require(answered or taken, "S9", how)
        elif name != "unknown":
            # Whatever was sent was answered in full, or the receipt owns up to the doubt.
            require(not in_doubt, "S9", how)
        if outcome == Outcome.INTERRUPTED_OUTCOME_UNKNOWN:
            # Of what may not be repeated it is not known after a restart whether it had begun.
            restarted = row.state is State.ERROR and self._world.host.restarts > 0
            lost = restarted and entry["kind"] == "sendSlackMessage"
            require(bool(sent) or lost, "S9", how)
        if outcome == Outcome.INTERRUPTED_RESPONSE:
            require(any(call.status == status or (call.item and call.seen) for call in ledger), "S9", how)
        if outcome == Outcome.INTERRUPTED_WAITING:
            require(any(call.status == 202 for call in ledger) or any(not call.delivered for call in ledger), "S9", how)
        if called_back:
            require(outcome == Outcome.SUCCEEDED, "S7", how)
        self._situations(row, ledger)

    def _situations(self, row: Execution, ledger: list[Call]) -> None:
        saw, seen = self._world.saw, self._world.oracle.seen.get(row.id)
        if any(call.fate is Fate.ACCEPTED_FIRST and 200 in call.callbacks for call in ledger):
            saw(Situation.CALLBACK_FIRST)
        if any(call.fate in _CALLED_AND_FAILED and 200 in call.callbacks for call in ledger):
            saw(Situation.CALLBACK_SETTLES)
        if len([call for call in ledger if call.first_byte_at is not None]) > 1:
            saw(Situation.RETRIED)
            if self._world.host.crashes:
                saw(Situation.REPEATED_AFTER_CRASH)
        if seen is None or seen.stopped_at is None:
            return
        for call in ledger:
            if call.deaf and call.cut:
                saw(Situation.DEAF)
            if 400 in call.callbacks:
                saw(Situation.CALLBACK_AFTER_STOP)
            if call.closed_at is not None and call.delivered and call.closed_at > seen.stopped_at:
                saw(Situation.DRAINED)
            if call.item and call.begun_at > seen.stopped_at:
                saw(Situation.ITEM_DRAINED)


def _brief(call: Call) -> str:
    return (
        f"#{call.number} {call.fate} sent={call.first_byte_at} acted={call.acted_at} status={call.status} "
        f"delivered={call.delivered} cut={call.cut} callbacks={call.callbacks}"
    )
