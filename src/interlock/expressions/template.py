"""`{{ }}` in texts and in JSON trees.

A tree is parsed before anything is put into it, and values are placed into the parsed tree, so no value can add a
member or end a string. A string of a tree that is one `{{ }}` and nothing else becomes the value itself, with its type;
any mixture becomes a text. What has been put in is never read as a template again. `{{ "{{" }}` writes the braces
themselves.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final, Protocol
from urllib.parse import quote

from interlock.contract.guard import loads
from interlock.errors import InvalidArgument, Problem
from interlock.expressions.context import Context, joined
from interlock.expressions.environment import Scope
from interlock.expressions.failures import Origin, OverBudget, Unusable
from interlock.expressions.holes import Hole, MalformedError, scan
from interlock.expressions.limits import MAX_AUTOMATION_SOURCE, MAX_DEPTH, MAX_RESULT, MAX_TEMPLATE_EXPRESSIONS
from interlock.expressions.names import Kind
from interlock.expressions.program import Program
from interlock.expressions.values import text as written


class Escape(Enum):
    """Where a text goes, which decides how the values put into it are written. The author's own text is not touched."""

    NONE = "none"
    HTML = "html"
    SLACK = "slack"
    URL = "url"
    """Everything but unreserved characters (RFC 3986) as percent escapes."""
    LINE = "line"
    """Subjects, addresses, headers: a value with a control character fails the template."""


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def _line(value: str) -> str:
    if _CONTROL.search(value):
        raise Unusable("a value holds a line break or control character, which this field must not have")
    return value


def _slack(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_ESCAPES: Final[dict[Escape, Callable[[str], str] | None]] = {
    Escape.NONE: None,
    Escape.HTML: html.escape,
    Escape.SLACK: _slack,
    Escape.URL: lambda value: quote(value, safe=""),
    Escape.LINE: _line,
}

_COMPACT: Final = json.JSONEncoder(separators=(",", ":"))
TOO_LARGE: Final = f"the template with its values is larger than {MAX_RESULT // 1024} KiB"


Values = Sequence[object]
Part = Callable[[Values], object]


class Template:
    """A compiled template. Immutable.

    `programs` are its expressions in order; the value of each is put where it stands. A template without any is
    `constant`, and rendering it costs nothing (the same object each time: do not change it).
    """

    __slots__ = ("_build", "_constant", "constant", "inputs", "origin", "programs", "unavailable")

    def __init__(self, programs: tuple[Program, ...], build: Part | None, constant: object, origin: Origin) -> None:
        self.programs = programs
        self.inputs = joined(program.inputs for program in programs)
        self.origin = origin
        self.constant = build is None
        self.unavailable = tuple(sorted({name for program in programs for name in program.unavailable}))
        self._build = build
        self._constant = constant

    @property
    def steps_read(self) -> frozenset[str]:
        return frozenset().union(*(program.steps_read for program in self.programs))

    def render(self, context: Context) -> object:
        """The text, or the tree, with all values in it. Evaluates here and now: see `Program.evaluate`.

        Raises ExpressionFailed, OverBudget.
        """
        if self._build is None:
            return self._constant
        inputs = self.inputs
        return self.fill([program.evaluate(context, inputs) for program in self.programs])

    def fill(self, values: Values) -> object:
        """The same, with the values of `programs` already evaluated."""
        if self._build is None:
            return self._constant
        if len(values) > 1 and sum(map(least_size, values)) > MAX_RESULT:
            raise self._too_large()
        try:
            rendered = self._build(values)
        except Unusable as error:
            raise self.programs[0].refused(error.reason) from None
        if len(values) > 1 and _size(rendered) > MAX_RESULT:
            raise self._too_large()
        return rendered

    def _too_large(self) -> OverBudget:
        return OverBudget(TOO_LARGE, source=self.programs[0].source, origin=self.origin)


def least_size(value: object) -> int:
    """A lower bound of what a value takes up when it is written."""
    return len(value) if isinstance(value, (str, list, dict)) else 1


def _size(rendered: object) -> int:
    return len(rendered) if isinstance(rendered, str) else len(_COMPACT.encode(rendered))


class Compiles(Protocol):
    """What a template asks of an environment."""

    def spend(self, looked_at: int, problems: list[Problem], origin: Origin) -> bool:
        """Look at so many characters of a template. False: it looks at nothing more, and has said why."""
        ...

    def compile_into(self, problems: list[Problem], source: str, kind: Kind, scope: Scope) -> Program | None: ...


class Compiler:
    """Compiles one template, collecting findings and programs."""

    def __init__(self, environment: Compiles, problems: list[Problem], scope: Scope) -> None:
        self._environment = environment
        self._problems = problems
        self._scope = scope
        self._programs: list[Program] = []
        self._count = 0

    def text(self, text: str, escape: Escape = Escape.NONE) -> Template | None:
        """A template whose result is a text."""
        known = len(self._problems)
        return self._made(known, self._mixture(text, self._scope, _ESCAPES[escape]), text)

    def tree(self, value: object) -> Template | None:
        """A template in the strings of a JSON tree. Its member names are not templates."""
        known = len(self._problems)
        return self._made(known, self._node(value, self._scope, 0), value)

    def document(self, text: str) -> Template | None:
        """Compile a text that may be a JSON document with `{{ }}` in it.

        An object or a list is compiled as a document: `{{ }}` inside quotes becomes text, and `{{ }}` in place of a
        value keeps its type. Any other text is compiled as a text.

        Returns:
            The template; None if the text has problems, which the compiler collects.
        """
        known = len(self._problems)
        parsed = _parse_document(text)
        if parsed is None:
            return self.text(text)
        tree, bare = parsed
        return self._made(known, self._node(tree, self._scope, 0, bare), tree)

    def _made(self, known: int, build: Part | None, constant: object) -> Template | None:
        if len(self._problems) > known:
            return None
        return Template(tuple(self._programs), build, constant, self._scope.origin)

    def _node(self, value: object, scope: Scope, depth: int, bare: Mapping[str, str] | None = None) -> Part | None:
        """A builder for this node, None if it is constant. `bare` has the holes of a document that stand for values."""
        if depth > MAX_DEPTH:
            self._found(f"the tree is nested deeper than {MAX_DEPTH} levels", scope)
        elif isinstance(value, str):
            if bare is None:
                return self._value(value, scope)
            return self._value(bare[value], scope) if value in bare else self._mixture(value, scope, None)
        elif isinstance(value, Mapping):
            members: dict[str, Part | None] = {}
            for name, item in value.items():
                inner = scope.within(f"{scope.origin.field}.{name}")
                if "{{" in name or (bare is not None and name in bare):
                    self._found("the name of a member cannot be a template", inner)
                members[name] = self._node(item, inner, depth + 1, bare)
            return _members(value, members)
        elif isinstance(value, (list, tuple)):
            return _items(
                value,
                [
                    self._node(item, scope.within(f"{scope.origin.field}[{index}]"), depth + 1, bare)
                    for index, item in enumerate(value)
                ],
            )
        return None

    def _value(self, text: str, scope: Scope) -> Part | None:
        """A string of a tree: a lone `{{ }}` keeps the type of its value."""
        pieces = self._pieces(text, scope)
        if len(pieces) == 1 and isinstance(pieces[0], Hole):
            return self._holes(pieces, text, scope)[0]
        return self._joined(pieces, text, scope, None)

    def _mixture(self, text: str, scope: Scope, escape: Callable[[str], str] | None) -> Part | None:
        return self._joined(self._pieces(text, scope), text, scope, escape)

    def _pieces(self, text: str, scope: Scope) -> Sequence[str | Hole]:
        """The pieces of a text that has holes. Nothing more is looked at once there are too many."""
        if "{{" not in text or not self._environment.spend(0, self._problems, scope.origin):
            return ()
        pieces: list[str | Hole] = []

        def spend(looked_at: int) -> bool:
            self._count += 1
            origin = scope.origin
            if not self._environment.spend(looked_at, self._problems, origin):
                return False
            if self._count == MAX_TEMPLATE_EXPRESSIONS + 1:
                text = f"the template has more expressions than the {MAX_TEMPLATE_EXPRESSIONS} that are allowed"
                self._problems.append(origin.problem(text, origin.line, origin.column))
            return self._count <= MAX_TEMPLATE_EXPRESSIONS

        try:
            pieces.extend(scan(text, spend))
        except MalformedError as error:
            self._malformed(error, text, scope)
            return ()
        return pieces

    def _joined(
        self, pieces: Sequence[str | Hole], text: str, scope: Scope, escape: Callable[[str], str] | None
    ) -> Part | None:
        if not pieces:
            return None
        holes = iter(self._holes(pieces, text, scope))
        parts = [piece if isinstance(piece, str) else next(holes) for piece in pieces]
        return _join([part for part in parts if part is not None], escape)

    def _holes(self, pieces: Sequence[str | Hole], text: str, scope: Scope) -> list[Part | None]:
        """A builder for each hole. Where each stands is counted on from the one before."""
        origin, at = scope.origin, 0
        made: list[Part | None] = []
        for piece in pieces:
            if isinstance(piece, str):
                continue
            line, column = origin.position(text[at : piece.offset], piece.offset - at)
            origin, at = replace(origin, line=line, column=column), piece.offset
            program = self._environment.compile_into(self._problems, piece.source, Kind.ANY, scope.at(line, column))
            made.append(None if program is None else self._value_of(program))
        return made

    def _value_of(self, program: Program) -> Part:
        """Register a program, and return the function that selects its value from the values of all programs."""
        index = len(self._programs)
        self._programs.append(program)
        return lambda values: values[index]

    def _malformed(self, error: MalformedError, text: str, scope: Scope) -> None:
        self._problems.append(scope.origin.problem(error.reason, *scope.origin.position(text, error.offset)))

    def _found(self, text: str, scope: Scope) -> None:
        self._problems.append(scope.origin.problem(text, scope.origin.line, scope.origin.column))


def _join(parts: Sequence[str | Part], escape: Callable[[str], str] | None) -> Part:
    def build(values: Values) -> object:
        return "".join([part if isinstance(part, str) else _put(part(values), escape) for part in parts])

    return build


def _put(value: object, escape: Callable[[str], str] | None) -> str:
    text = value if type(value) is str else written(value)
    return text if escape is None else escape(text)


def _members(value: Mapping[str, object], parts: Mapping[str, Part | None]) -> Part | None:
    if not any(parts.values()):
        return None
    pairs = [(name, parts[name], item) for name, item in value.items()]
    return lambda values: {name: item if part is None else part(values) for name, part, item in pairs}


def _items(value: Sequence[object], parts: Sequence[Part | None]) -> Part | None:
    if not any(parts):
        return None
    pairs = list(zip(parts, value, strict=True))
    return lambda values: [item if part is None else part(values) for part, item in pairs]


def _parse_document(text: str) -> tuple[Mapping[str, object] | list[object], dict[str, str]] | None:
    """The text as an object or list, and the marks in it that stand for bare holes; None if it is neither."""
    if text.lstrip()[:1] not in ("{", "[") or text.lstrip().startswith("{{"):
        return None
    tree = _structure(text)
    if tree is not None:
        return tree, {}
    looked_at: list[int] = []

    def spend(characters: int) -> bool:
        looked_at.append(characters)
        return len(looked_at) <= MAX_TEMPLATE_EXPRESSIONS and sum(looked_at) <= MAX_AUTOMATION_SOURCE

    try:
        pieces = list(scan(text, spend))
    except MalformedError:
        return None
    if len(looked_at) > MAX_TEMPLATE_EXPRESSIONS or sum(looked_at) > MAX_AUTOMATION_SOURCE:
        # Too much, which is found once more, and said, when it is read as a text.
        return None
    # A character that the text does not have, so that no string of the author's can be taken for a hole.
    used = set(text)
    mark = next((chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in used), None)
    if mark is None:
        return None
    bare: dict[str, str] = {}
    parts: list[str] = []
    quoted = False
    for piece in pieces:
        if isinstance(piece, str):
            quoted = _ends_quoted(piece, quoted)
            parts.append(piece)
            continue
        template = "{{ " + piece.source + " }}"
        if quoted:
            parts.append(json.dumps(template)[1:-1])
        else:
            name = f"{mark}{len(bare)}"
            bare[name] = template
            parts.append(json.dumps(name))
    tree = _structure("".join(parts))
    return None if tree is None else (tree, bare)


def _structure(text: str) -> Mapping[str, object] | list[object] | None:
    try:
        tree = loads(text.encode("utf-8", "surrogatepass"))
    except InvalidArgument:
        return None
    return tree if isinstance(tree, (dict, list)) else None


def _ends_quoted(piece: str, quoted: bool) -> bool:
    """Whether the end of a piece of JSON lies inside a string."""
    for match in re.finditer(r'\\.|"', piece, re.DOTALL):
        if match[0] == '"':
            quoted = not quoted
    return quoted
