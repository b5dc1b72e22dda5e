"""What a filter of executions finds: by what is indexed first, then by an expression.

An expression is asked about what our views show, and no more: the secret results of a run are masked. Whoever may stop
runs could otherwise guess at them, by one question after the other.
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
from interlock.operations.paging import ROWS_AT_ONCE, few, give_way
from interlock.operations.scope import all_visible
from interlock.operations.services import Services
from interlock.rules.model import SECOND, Execution
from interlock.rules.states import TERMINAL, State
from interlock.steps.documents import Unreadable, decode

MOST: Final = 100_000
"""Executions of one order."""
LONGEST: Final = 30 * SECOND
"""For which the data of runs are looked through at most: an expression may be dear, and there may be many runs."""
_EXPRESSION: Final = "filter.expressionCel"
_ROWS: Final = 250
_BYTES_AT_ONCE: Final = 32_768
"""Of data that are read and decoded before everybody else gets a turn of the loop."""
_ACTIVE: Final = tuple(state for state in State if state not in TERMINAL)
_TRIGGER: Final = "trigger"


@dataclass(slots=True)
class Found:
    """What is meant by a request, and what of it could not be found out."""

    executions: list[Execution] = field(default_factory=list)
    counts: Counter[State] = field(default_factory=Counter)
    """How many of them stand in which state."""
    missing: int = 0
    """Ids that are unknown here, or not the caller's to see."""
    failures: int = 0
    """Runs about which the expression could not be asked. They do not count as found."""
    first: tuple[int, ExpressionFailed] | None = None
    """The first of them, and why."""

    def take(self, rows: Sequence[Execution]) -> None:
        self.executions += rows
        self.counts.update(row.state for row in rows)

    def failed(self, execution: int, failure: ExpressionFailed) -> None:
        self.failures += 1
        self.first = self.first or (execution, failure)

    def shown_failures(self) -> ExpressionFailures | None:
        """For an answer; None if the expression could be asked about all."""
        if self.first is None:
            return None
        execution, why = self.first
        error = f"line {why.line}, column {why.column}: {why.reason}"
        return ExpressionFailures(count=self.failures, execution_id=execution, error=error)


async def find(services: Services, call: Call, narrowing: TerminationFilter) -> Found:
    """The runs that are not at rest for good, are the caller's to see, and fit all that is given; newest first.

    Raises:
        InvalidArgument: nothing is given, the expression is not valid, too many fit, or it takes too long to find out.
        Unavailable: no process could be had for an expression that needs one.
    """
    states = shown.states_of(narrowing.states)
    automations = few(narrowing.automation_template_ids, "filter.automationTemplateIds")
    subjects = _subjects(narrowing)
    expression = narrowing.expression_cel
    narrowed = automations or states or subjects or narrowing.older_than or expression is not None
    if not (narrowed or narrowing.all_executions):
        raise InvalidArgument.at(
            "filter", "narrows nothing down; say what is meant, or set allExecutions if all of them are"
        )
    at = services.clock.now()
    question = None if expression is None else _Question(services, await _program(services, expression), at)
    active = tuple(state for state in (_ACTIVE if states is None else states) if state not in TERMINAL)
    until = at if narrowing.older_than is None else at - narrowing.older_than.nanos // 1000
    found = Found()
    before: int | None = None
    while active and (
        rows := await services.store.executions.page(
            call.tenant.id, automations=automations, states=active, subjects=subjects, before=before, limit=_ROWS
        )
    ):
        before = rows[-1].id
        old = [row for row in rows if row.created_at <= until]
        seen = await all_visible(services.store, call, {row.automation for row in old})
        fitting = [row for row in old if row.automation in seen]
        found.take(fitting if question is None else await question.ask(fitting, found))
        if len(found.executions) > MOST:
            raise InvalidArgument.at("filter", f"finds more than {MOST:,} executions; narrow it down")
        await give_way(0)
    return found


def _subjects(narrowing: TerminationFilter) -> Sequence[str]:
    subjects = few(narrowing.subject_user_ids, "filter.subjectUserIds")
    for number, subject in enumerate(subjects):
        if not subject:
            raise InvalidArgument.at(f"filter.subjectUserIds[{number}]", "must not be empty")
    return subjects


def step_names(steps: bytes) -> list[str]:
    """The names of a definition's steps, in order."""
    return [step["stepName"] for step in decode(steps)]


@dataclass(frozen=True, slots=True)
class _Outline:
    """What expressions need to know of a definition."""

    names: list[str]
    defaults: Mapping[str, object]


async def _program(services: Services, expression: str) -> Program:
    """
    Raises:
        InvalidExpression: the expression is not valid; it names the field, line and column.
        Unavailable: there is no process to compile it.
    """
    scope = Scope(Place.EXECUTION, Origin(_EXPRESSION))
    return await services.environment.compiled(lambda known: known.compile(expression, Kind.BOOL, scope), urgent=True)


class _Question:
    """An expression that is asked about each run. What the answer does not need is not read."""

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

    async def ask(self, rows: Sequence[Execution], found: Found) -> list[Execution]:
        """Those of them that fit; the failures are noted in `found`."""
        fitting: list[Execution] = []
        asked: list[Execution] = []
        contexts: list[Context] = []
        for number, row in enumerate(rows, 1):
            try:
                contexts.append(await self._context(row))
                asked.append(row)
            except Unreadable as error:
                # Nothing of it can be asked about, and that is true of this run alone.
                found.failed(row.id, self._program.refused(error.message))
            if number % ROWS_AT_ONCE == 0 or self._since > _BYTES_AT_ONCE or number == len(rows):
                answers = await self._services.evaluator.evaluate_each(self._program, contexts)
                for one, answer in zip(asked, answers, strict=True):
                    if isinstance(answer, ExpressionFailed):
                        found.failed(one.id, answer)
                    elif answer is True:
                        fitting.append(one)
                asked, contexts, self._since = [], [], 0
                await give_way(0)
                self._check_time()
        return fitting

    def _check_time(self) -> None:
        if self._services.clock.now() - self._at > LONGEST:
            raise InvalidArgument.at(
                "filter", f"takes longer than {LONGEST // SECOND} s to go by; narrow it down by automation or state"
            )

    async def _context(self, row: Execution) -> Context:
        """What the expression may read of a run. Raises Unreadable."""
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


def _of_row(member: Callable[[Execution], object]) -> Callable[[_Question, Execution], Awaitable[object]]:
    """A member that the run's own row tells."""

    async def read(question: _Question, row: Execution) -> object:
        return member(row)

    return read


MEMBERS: Final[Mapping[str, Callable[[_Question, Execution], Awaitable[object]]]] = {
    "execution.id": _of_row(lambda row: row.id),
    "execution.automationTemplateId": _of_row(lambda row: row.automation),
    "execution.automationDisplayName": _Question.display_name,
    "execution.currentVersion": _Question.version,
    "execution.isDraft": _of_row(lambda row: row.is_draft),
    "execution.state": _of_row(lambda row: row.state.value),
    "execution.waitingFor": _of_row(lambda row: row.waiting_for.value if row.waiting_for is not None else ""),
    "execution.step": _of_row(lambda row: row.step),
    "execution.stepName": _Question.step_name,
    "execution.createdAt": _of_row(lambda row: instant(row.created_at)),
    "execution.updatedAt": _of_row(lambda row: instant(row.updated_at)),
}
"""What an expression may ask of a run itself, as `expressions.names` declares it."""
