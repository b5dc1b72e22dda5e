"""The one module that knows the CEL engine (cel-expr-python, Google's C++ implementation).

The engine has no type information and some sharp edges, which end here:

- errors of an evaluation come back as values of type ERROR, overruns and bad input as RuntimeError;
- an optional inside a list or map cannot be converted, and inside a map the attempt ends the process, so results that
  may hold one are unwrapped member by member (`Compiled.value` with `careful`);
- a function of CEL's own gets further overloads only through an extension.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NewType

from cel_expr_python import cel

from interlock.expressions.limits import MAX_DEPTH, MAX_RESULT
from interlock.expressions.names import Function

Activation = NewType("Activation", object)
"""Variables, converted for the engine. May be shared by any number of evaluations."""

_TYPES: Final = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "bool": cel.Type.BOOL,
    "timestamp": cel.Type.TIMESTAMP,
    "duration": cel.Type.DURATION,
    "dyn": cel.Type.DYN,
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    "list": cel.Type.List(cel.Type.DYN),
    "strings": cel.Type.List(cel.Type.STRING),
}

_EXTENSIONS: Final = ("bindings", "math", "optional", "strings")
"""Bounded by their input. `lists` is left out: lists.range() makes memory from a number."""

_ERROR: Final = cel.Type.ERROR
_FINDING: Final = re.compile(r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_CLEARER: Final = {
    "invalid int literal": "the integer does not fit into 64 bits; from 2^63 to 2^64 - 1 write a u behind it",
    "invalid uint literal": "the integer does not fit into 64 bits; at most 18446744073709551615u can be written",
}
_CONTAINER: Final = " (in container '')"
_UNDECLARED: Final = re.compile(r"undeclared reference to '(.*)'")
_READABLE: Final = frozenset(
    {"BOOL", "BYTES", "DOUBLE", "DURATION", "INT", "NULL", "STRING", "TIMESTAMP", "TYPE", "UINT"}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the engine refuses in a source; `line` and `column` are 1-based."""

    line: int
    column: int
    message: str


class CompileError(Exception):
    """The source is not a valid expression."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(findings[0].message)
        self.findings = tuple(findings)


class EvaluationError(Exception):
    """The evaluation failed; the message is the engine's and may hold values."""


class BudgetError(Exception):
    """The evaluation used more than it may."""


class BadInputError(Exception):
    """The engine cannot take these variables."""


class Engine:
    """An environment of the engine: the names that expressions may use."""

    def __init__(
        self,
        variables: Mapping[str, str],
        constants: Mapping[str, str],
        functions: Sequence[Function],
        implementations: Mapping[str, Callable[..., object]],
    ) -> None:
        declared = [
            cel.FunctionDecl(
                function.name,
                [
                    cel.Overload(
                        overload.key,
                        _TYPES[overload.result],
                        [_TYPES[parameter] for parameter in overload.parameters],
                        is_member=overload.member,
                        impl=implementations[overload.key],
                    )
                    for overload in function.overloads
                ],
            )
            for function in functions
        ]
        # JSON is YAML. Constants given this way are folded when an expression is compiled.
        config = {
            "extensions": [{"name": name} for name in _EXTENSIONS],
            "variables": [{"name": n, "type_name": "string", "value": v} for n, v in constants.items()],
        }
        self._env = cel.NewEnv(
            config=cel.NewEnvConfigFromYaml(json.dumps(config)),
            variables={name: _TYPES[kind] for name, kind in variables.items()},
            extensions=[cel.CelExtension("interlock", declared)],
        )

    def compile(self, source: str) -> Compiled:
        """Raises CompileError."""
        try:
            return Compiled(self._env.compile(source))
        except (RuntimeError, TypeError, ValueError) as error:
            raise CompileError(_findings(str(error), source)) from None

    def activation(self, variables: Mapping[str, object]) -> Activation:
        """Convert variables: about 3 µs and 3 µs for each kB. Raises BadInputError."""
        try:
            return Activation(self._env.Activation(variables))
        except (RuntimeError, TypeError, ValueError, OverflowError, SystemError) as error:
            raise BadInputError(type(error).__name__) from None


class Compiled:
    """A compiled expression."""

    __slots__ = ("_evaluate", "_expression", "result_type")

    def __init__(self, expression: cel.Expression) -> None:
        self._expression = expression
        self._evaluate: Callable[[Activation], cel.Value] = self._expression.eval
        self.result_type: str = str(self._expression.return_type())
        """The engine's name of the static type of the result, such as `BOOL`, `LIST<STRING>` or `DYN`."""

    def serialize(self) -> bytes:
        """The checked expression, as a `google.protobuf.Any` of `cel.expr.CheckedExpr`."""
        return bytes(self._expression.serialize())

    def value(self, activation: Activation, *, careful: bool = False) -> object:
        """Evaluate. `careful` is for results that may hold an optional.

        Raises EvaluationError, BudgetError.
        """
        try:
            result = self._evaluate(activation)
            if careful:
                return _unwrap(result, [MAX_RESULT], 0)
            raw: object = result.plain_value()
        except RuntimeError as error:
            if "budget exceeded" in str(error):
                raise BudgetError("it loops more than 9,999 times") from None
            raise EvaluationError(str(error)) from None
        except (TypeError, SystemError, ValueError, OverflowError):
            raise EvaluationError("the result cannot be read") from None
        # An error is a value too: its message, as a text.
        if type(raw) is str and result.type() == _ERROR:
            raise EvaluationError(raw)
        return raw


def _unwrap(value: cel.Value, left: list[int], depth: int) -> object:
    """The value as Python has it, refusing what the engine cannot convert."""
    name = str(value.type().name())
    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH:
        raise BudgetError("its result is too large")
    if name.startswith("LIST"):
        return [_unwrap(item, left, depth + 1) for item in value.value()]
    if name.startswith("MAP"):
        return {key: _unwrap(item, left, depth + 1) for key, item in value.value().items()}
    if name == "ERROR":
        try:
            raise EvaluationError(str(value.value()))
        except TypeError:
            # An optional at the top says that it is an error, too, and has no text.
            raise EvaluationError(OPTIONAL_RESULT) from None
    if name not in _READABLE:
        raise EvaluationError(OPTIONAL_RESULT)
    return value.value()


OPTIONAL_RESULT: Final = "the result is or holds an optional"


def _findings(message: str, source: str) -> list[Finding]:
    found: list[Finding] = []
    lines = source.splitlines() or [""]
    for match in _FINDING.finditer(message):
        line, column = max(1, int(match[1])), max(1, int(match[2]))
        text = match[3].replace(_CONTAINER, "")
        text = _CLEARER.get(text, text)
        if "max recursion depth" in text:
            return [Finding(1, 1, "the expression is nested too deeply: at most 32 levels")]
        if (name := _UNDECLARED.fullmatch(text)) and line <= len(lines):
            # `a.b.F(x)` with an unknown name is reported twice, for `a.b` and for `F`: one finding names it whole. And
            # the engine points at a dot or parenthesis after the name, we at the name.
            before = _UNDECLARED.fullmatch(found[-1].message) if found else None
            whole = f"{before[1]}.{name[1]}" if before else ""
            if before and found[-1].line == line and lines[line - 1].startswith(whole + "(", found[-1].column - 1):
                found[-1] = Finding(line, found[-1].column, f"undeclared reference to '{whole}'")
                continue
            at = lines[line - 1].rfind(name[1], 0, column - 1 + len(name[1]))
            column = at + 1 if at >= 0 else column
        found.append(Finding(line, column, text))
    if found:
        return found
    if "recursion limit" in message:
        return [Finding(1, 1, "the expression is nested too deeply: at most 32 levels")]
    return [Finding(1, 1, "the expression cannot be compiled")]
