"""Finds the executions that a filter matches, first by indexed columns and then by an expression.

An expression reads only what our views show; the secret results of a run are masked. A client that may terminate runs
could otherwise guess secrets by repeated filters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from interlock.engine.context import instant, trigger_of
from interlock.engine.plans import defaults_of
from interlock.errors import InvalidArgument
from interlock.expressions.context import Context
from interlock.expressions.environment import Scope
from interlock.expressions.failures import ExpressionFailed, Origin
from interlock.expressions.names import Kind, Place
from interlock.expressions.program import Program
from interlock.operations import shown
from interlock.operations.bulk_terminations.views import ExpressionFailures, TerminationFilter
from interlock.operations.operation import Call
from interlock.operations.paging import ROWS_PER_TURN, limited
from interlock.operations.scope import all_visible
from interlock.operations.services import Services
from interlock.rules.model import SECOND, Execution
from interlock.rules.states import TERMINAL, State
from interlock.rules.values import value
from interlock.steps.documents import Unreadable, decode
from interlock.system import yield_to_loop

MAX_BULK_EXECUTIONS: Final = 100_000
"""Maximum number of executions of one bulk termination."""
MAX_FILTER_TIME: Final = 30 * SECOND
"""Maximum time for evaluating a filter, in microseconds: an expression may be expensive, and there may be many runs."""
_EXPRESSION: Final = "filter.expressionCel"
_PAGE_ROWS: Final = 250
_BYTES_PER_TURN: Final = 32_768
"""Bytes of data that are read and decoded before the loop serves other requests."""
_ACTIVE: Final = tuple(state for state in State if state not in TERMINAL)
_TRIGGER: Final = "trigger"


@dataclass(slots=True)
class Targets:
    """The executions that a request names, and those that the server could not check."""

    executions: list[Execution] = field(default_factory=list)
    counts: Counter[State] = field(default_factory=Counter)
    """The number of these executions in each state."""
    missing: int = 0
    """Ids that are unknown, or not visible to the caller."""
    failures: int = 0
    """Runs for which the expression failed. They do not match."""
    first: tuple[int, ExpressionFailed] | None = None
    """The first run for which the expression failed, and the reason."""

    def take(self, rows: Sequence[Execution]) -> None:
        self.executions += rows
        self.counts.update(row.state for row in rows)

    def failed(self, execution: int, failure: ExpressionFailed) -> None:
        self.failures += 1
        self.first = self.first or (execution, failure)

    def shown_failures(self) -> ExpressionFailures | None:
        """Return the failures for an answer; None if there are none."""
        if self.first is None:
            return None
        execution, why = self.first
        error = f"line {why.line}, column {why.column}: {why.reason}"
        return ExpressionFailures(count=self.failures, execution_id=execution, error=error)


async def find(services: Services, call: Call, narrowing: TerminationFilter) -> Targets:
    """Return the active runs that the caller may see and that match all criteria, newest first.

    Raises:
        InvalidArgument: The filter is empty, its expression is not valid, it matches too many runs, or evaluating it
            takes too long.
        Unavailable: No process was available to compile or evaluate the expression.
    """
    states = shown.states_of(narrowing.states)
    automations = limited(narrowing.automation_template_ids, "filter.automationTemplateIds")
    subjects = _subjects(narrowing)
    expression = narrowing.expression_cel
    has_criteria = automations or states or subjects or narrowing.older_than or expression is not None
    if not (has_criteria or narrowing.all_executions):
        raise InvalidArgument.at("filter", "is empty: add a criterion, or set allExecutions to match all executions")
    at = services.clock.now()
    run_filter = None if expression is None else _RunFilter(services, await _program(services, expression), at)
    active = tuple(state for state in (_ACTIVE if states is None else states) if state not in TERMINAL)
    until = at if narrowing.older_than is None else at - narrowing.older_than.nanos // 1000
    found = Targets()
    before: int | None = None
    while active and (
        rows := await services.store.executions.page(
            call.tenant.id, automations=automations, states=active, subjects=subjects, before=before, limit=_PAGE_ROWS
        )
    ):
        before = rows[-1].id
        old = [row for row in rows if row.created_at <= until]
        seen = await all_visible(services.store, call, {row.automation for row in old})
        matches = [row for row in old if row.automation in seen]
        found.take(matches if run_filter is None else await run_filter.matching(matches, found))
        if len(found.executions) > MAX_BULK_EXECUTIONS:
            raise InvalidArgument.at(
                "filter", f"matches more than {MAX_BULK_EXECUTIONS:,} executions; add an automation or a state"
            )
        await yield_to_loop()
    return found


def _subjects(narrowing: TerminationFilter) -> Sequence[str]:
    subjects = limited(narrowing.subject_user_ids, "filter.subjectUserIds")
    for number, subject in enumerate(subjects):
        if not subject:
            raise InvalidArgument.at(f"filter.subjectUserIds[{number}]", "must not be empty")
    return subjects


def step_names(steps: bytes) -> list[str]:
    """Return the names of a definition's steps, in order."""
    return [step["stepName"] for step in decode(steps)]


@value(frozen=True, slots=True)
class _Outline:
    """The parts of a definition that expressions need."""

    names: list[str]
    defaults: Mapping[str, object]


async def _program(services: Services, expression: str) -> Program:
    """Compile the expression of a filter.

    Raises:
        InvalidExpression: The expression is not valid; the error names the field, line and column.
        Unavailable: There is no process to compile it.
    """
    scope = Scope(Place.EXECUTION, Origin(_EXPRESSION))
    return await services.environment.compiled(lambda known: known.compile(expression, Kind.BOOL, scope), urgent=True)


class _RunFilter:
    """Evaluates an expression for each run, and reads only the data that the expression uses."""

    def __init__(self, services: Services, program: Program, at: int) -> None:
        self._services = services
        self._at = at
        self._program = program
        self._members = tuple(name for name in self._program.inputs.variables if name in MEMBERS)
        reads = self._program.inputs.steps
        self._trigger = reads is None or _TRIGGER in reads
        self._outputs = reads is None or any(name != _TRIGGER for name in reads)
        self._outlines: dict[int, _Outline] = {}
        self._names: dict[str, str] = {}
        self._since = 0

    async def matching(self, rows: Sequence[Execution], found: Targets) -> list[Execution]:
        """Return the runs that match, and add the failures to `found`."""
        matches: list[Execution] = []
        evaluated: list[Execution] = []
        contexts: list[Context] = []
        for number, row in enumerate(rows, 1):
            try:
                contexts.append(await self._context(row))
                evaluated.append(row)
            except Unreadable as error:
                # The data of this run cannot be decoded; the other runs are not affected.
                found.failed(row.id, self._program.refused(error.message))
            if number % ROWS_PER_TURN == 0 or self._since > _BYTES_PER_TURN or number == len(rows):
                answers = await self._services.evaluator.evaluate_each(self._program, contexts)
                for one, answer in zip(evaluated, answers, strict=True):
                    if isinstance(answer, ExpressionFailed):
                        found.failed(one.id, answer)
                    elif answer is True:
                        matches.append(one)
                evaluated, contexts, self._since = [], [], 0
                await yield_to_loop()
                self._check_time()
        return matches

    def _check_time(self) -> None:
        if self._services.clock.now() - self._at > MAX_FILTER_TIME:
            raise InvalidArgument.at(
                "filter", f"took longer than {MAX_FILTER_TIME // SECOND} s to evaluate; add an automation or a state"
            )

    async def _context(self, row: Execution) -> Context:
        """Return the context of the expression for a run. Raises Unreadable."""
        store = self._services.store.executions
        ctx: dict[str, object] = {}
        if self._trigger:
            ctx[_TRIGGER] = trigger_of((await self.outline(row)).defaults, self._read(await store.input(row.ref)))
        if self._outputs:
            names = (await self.outline(row)).names
            for position, output in await store.outputs(row.ref):
                if position < len(names):
                    ctx[names[position]] = self._read(output)
        others = {name: await MEMBERS[name](self, row) for name in self._members}
        return Context(ctx, instant(self._at), others=others)

    def _read(self, stored: bytes) -> object:
        self._since += len(stored)
        return decode(stored)

    async def outline(self, row: Execution) -> _Outline:
        known = self._outlines.get(row.definition)
        if known is None:
            found = await self._services.store.automations.definition(row.tenant, row.definition)
            known = _Outline([], {}) if found is None else _Outline(step_names(found.steps), defaults_of(found))
            self._outlines[row.definition] = known
        return known

    async def step_name(self, row: Execution) -> str:
        names = (await self.outline(row)).names
        return names[row.step] if row.step < len(names) else ""

    async def version(self, row: Execution) -> int:
        return (await shown.plan_facts(self._services, row.tenant, row.definition)).version

    async def display_name(self, row: Execution) -> str:
        known = self._names.get(row.automation)
        if known is None:
            known = self._names[row.automation] = await shown.automation_name(self._services.store, row)
        return known


def _of_row(member: Callable[[Execution], object]) -> Callable[[_RunFilter, Execution], Awaitable[object]]:
    """Return a reader of a member that is a column of the run's row."""

    async def read(run_filter: _RunFilter, row: Execution) -> object:
        return member(row)

    return read


MEMBERS: Final[Mapping[str, Callable[[_RunFilter, Execution], Awaitable[object]]]] = {
    "execution.id": _of_row(lambda row: row.id),
    "execution.automationTemplateId": _of_row(lambda row: row.automation),
    "execution.automationDisplayName": _RunFilter.display_name,
    "execution.currentVersion": _RunFilter.version,
    "execution.isDraft": _of_row(lambda row: row.is_draft),
    "execution.state": _of_row(lambda row: row.state.value),
    "execution.waitingFor": _of_row(lambda row: row.waiting_for.value if row.waiting_for is not None else ""),
    "execution.step": _of_row(lambda row: row.step),
    "execution.stepName": _RunFilter.step_name,
    "execution.createdAt": _of_row(lambda row: instant(row.created_at)),
    "execution.updatedAt": _of_row(lambda row: instant(row.updated_at)),
}
"""The readers of the members of `execution`, which `expressions.names` declares."""
