"""A compiled expression, and its evaluation in the process that asks for it."""

from __future__ import annotations

from typing import Final

from interlock.expressions.cel import OPTIONAL_RESULT, BudgetError, Compiled, Engine, EvaluationError
from interlock.expressions.checked import Facts
from interlock.expressions.context import Context, Inputs
from interlock.expressions.failures import NO_MEMORY, ExpressionFailed, Origin, OverBudget, Unusable, explain
from interlock.expressions.functions import FRAME
from interlock.expressions.names import Kind, Place
from interlock.expressions.reads import Member
from interlock.expressions.selection import ELSEWHERE, MissingError
from interlock.expressions.values import plain, type_name_of

_PYTHON_TYPES: Final[dict[Kind, type]] = {
    Kind.BOOL: bool,
    Kind.INT: int,
    Kind.STRING: str,
    Kind.STRING_LIST: list,
    Kind.LIST: list,
    Kind.MAP: dict,
}


class Program:
    """A compiled expression. Immutable, shared by all runs of a version.

    `steps_read` are the members of `ctx` it names (`trigger` included), `unavailable` the functions of ours that cannot
    be evaluated yet.
    """

    __slots__ = (
        "_careful",
        "_facts",
        "_framed",
        "_native",
        "_type",
        "inputs",
        "kind",
        "members_read",
        "needs_directory",
        "origin",
        "place",
        "source",
        "steps_read",
        "unavailable",
    )

    def __init__(
        self,
        source: str,
        kind: Kind,
        place: Place,
        origin: Origin,
        native: tuple[Engine, Compiled] | None,
        facts: Facts,
        inputs: Inputs,
        members_read: frozenset[Member],
        *,
        needs_directory: bool,
        framed: bool,
        unavailable: tuple[str, ...],
    ) -> None:
        self.source = source
        self.kind = kind
        self.place = place
        self.origin = origin
        self.inputs = inputs
        self.members_read = members_read
        """The members of steps that it may read."""
        self.steps_read = frozenset(facts.steps)
        self.needs_directory = needs_directory
        self.unavailable = unavailable
        self._native = native
        self._facts = facts
        self._framed = framed
        self._careful = facts.optional
        self._type = _PYTHON_TYPES.get(kind)

    def __repr__(self) -> str:
        return f"Program({self.source!r})"

    @property
    def plain(self) -> bool:
        """Whether it is a constant or a plain selection, which `select` can mostly tell."""
        return self._facts.selection is not None

    def select(self, context: Context) -> object:
        """The result as `evaluate` gives it, without CEL; ELSEWHERE if only CEL can tell. Raises ExpressionFailed."""
        selection = self._facts.selection
        if selection is None:
            return ELSEWHERE
        try:
            value = selection.of(context)
        except MissingError as missing:
            raise self._failed(f'Key not found in map : "{missing.name}"') from None
        except Unusable as error:
            raise self.refused(error.reason, over_budget=error.over_budget) from None
        if self._type is not None and value is not ELSEWHERE:
            self._check(value)
        return value

    def evaluate(self, context: Context, inputs: Inputs | None = None) -> object:
        """The result as plain JSON, of the kind asked for, by CEL: here and now, without any bound.

        Only an evaluator process does this (see `evaluate`), and a simulation of one. `inputs` are this program's and
        others', for several that are evaluated together: one conversion does for all.
        Raises ExpressionFailed, OverBudget; and what the directory raises.
        """
        if self._native is None:
            raise TypeError("only an evaluator process evaluates by CEL")
        engine, compiled = self._native
        try:
            activation = context.activation(engine, inputs or self.inputs)
            if self._framed:
                frame = context.frame()
                token = FRAME.set(frame)
                try:
                    raw = compiled.value(activation, careful=self._careful)
                except EvaluationError:
                    if frame.failure is not None:
                        raise frame.failure from None
                    raise
                finally:
                    FRAME.reset(token)
            else:
                raw = compiled.value(activation, careful=self._careful)
            value = raw if raw is True or raw is False else plain(raw)
        except EvaluationError as error:
            raise self._failed(str(error)) from None
        except BudgetError as error:
            raise self.over_budget(str(error)) from None
        except MemoryError:
            raise self.over_budget(NO_MEMORY) from None
        except Unusable as error:
            raise self.refused(error.reason, over_budget=error.over_budget) from None
        if self._type is not None:
            self._check(value)
        return value

    def over_budget(self, reason: str) -> OverBudget:
        return OverBudget(reason, source=self.source, origin=self.origin)

    def refused(self, reason: str, *, over_budget: bool = False, offset: int = 0) -> ExpressionFailed:
        failure = OverBudget if over_budget else ExpressionFailed
        return failure(reason, source=self.source, origin=self.origin, offset=offset)

    def _check(self, value: object) -> None:
        if type(value) is not self._type:
            found = type_name_of.get(type(value), "null")
            raise self.refused(f"expected type '{self.kind.value}' but found '{found}'")
        if self.kind is Kind.STRING_LIST and isinstance(value, list):
            wrong = next((item for item in value if not isinstance(item, str)), "")
            if not isinstance(wrong, str):
                found = type_name_of.get(type(wrong), "null")
                raise self.refused(f"expected type 'list(string)' but found a list with '{found}'")

    def _failed(self, message: str) -> ExpressionFailed:
        facts = self._facts
        if message == OPTIONAL_RESULT:
            return self.refused("the result is or holds an optional value; end it with .orValue(…)")
        reason = explain(message, frozenset(facts.names))
        offset = 0
        if reason.name is not None:
            offset = facts.variables.get(reason.name, facts.names.get(reason.name, 0))
            if reason.name in facts.steps and reason.name not in facts.variables:
                text = f"step {reason.name!r} has no output: it was skipped, or has not completed"
                text = "the run has no 'trigger' data" if reason.name == "trigger" else text
                if not self._nested(reason.name):
                    return self.refused(text, offset=facts.steps[reason.name])
        return self.refused(reason.text, offset=offset)

    def _nested(self, name: str) -> bool:
        """Whether a step's name is a field elsewhere in the source, too: then which one is missing is not known."""
        return self.source.count(name) > 1
