"""One small change to a piece of Python at a time: what a slip of the hand, or of the mind, would make of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Final

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
FUNCTIONS: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
MEMBERS: Final = {
    "State": "PENDING PROCESS_STEP WAITING PAUSED_BY_CIRCUIT_BREAKER STOPPING DONE ERROR TERMINATE",
    "WaitingFor": "READY TIMER CALLBACK RETRY TASK DEADLINE POLL",
    "Outcome": "SUCCEEDED FAILED SKIPPED NOT_STARTED INTERRUPTED_NOT_SENT INTERRUPTED_OUTCOME_UNKNOWN"
    " INTERRUPTED_RESPONSE INTERRUPTED_WAITING INTERRUPTED_PARTLY ABANDONED LATE_SUCCEEDED LATE_FAILED",
    "Verdict": "ACCEPTED REPEATED ALREADY_FINISHED SUPERSEDED",
    "Mode": "INTERRUPT DRAIN",
    "Cause": "PERSON CASCADE TENANT_SWITCH BREAKER_CANCEL DELETE LEASE_EXPIRED TENANT_REVOKED",
}
"""The members of the enumerations, in order: each is taken for the one after it."""
UNTOUCHED_CALLS: Final = frozenset({"_log", "logging", "value", "dataclass", "error_document"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands: in which field of its parent, and at which index if that is a list."""

    parent: ast.AST
    field: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `before` and `after` are the statement that it is in, without the statements nested in that."""

    module: str
    function: str
    """Qualified name of the function; empty outside of any: the change is in what runs at the import."""
    before: str
    after: str
    line: int
    tree: ast.Module
    place: Place
    old: ast.AST
    new: ast.AST

    def __str__(self) -> str:
        return f"{self.module}:{self.function or '<module>'}: {self.before} => {self.after}"

    def code(self) -> CodeType:
        """The whole module, changed.

        Raises:
            SyntaxError: it is no Python any more.
        """
        self.place.put(self.new)
        try:
            return compile(ast.fix_missing_locations(self.tree), f"<{self.module}, changed>", "exec")
        finally:
            self.place.put(self.old)


def mutants(module: str, text: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text; those that read the same are one."""
    tree = ast.parse(text)
    found: dict[tuple[str, str, str], Mutant] = {}
    for place, old, new, function, statement in _sites(tree, "", None):
        before = _head(statement)
        place.put(new)
        # What is replaced as a whole is not in the tree any more; what stands there is.
        after = _head(new if old is statement else statement)
        place.put(old)
        if before != after:
            line = getattr(statement, "lineno", 0)
            found.setdefault(
                (function, before, after), Mutant(module, function, before, after, line, tree, place, old, new)
            )
    return list(found.values())


def function_code(module: CodeType, function: str) -> CodeType:
    """The code of a function within that of its module.

    Raises:
        LookupError: there is none of that name.
    """
    inside = [module]
    while inside:
        code = inside.pop()
        if code.co_qualname == function:
            return code
        inside.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))
    raise LookupError(function)


def _head(statement: ast.AST) -> str:
    """A statement in one line, without the statements nested in it."""
    match statement:
        case ast.match_case(pattern, guard):
            return f"case {ast.unparse(pattern)}" + (f" if {ast.unparse(guard)}" if guard is not None else "")
        case ast.Try(_, _, _, final):
            return f"try ... finally: {_one_line(final[0])}" if final else "try"
        case ast.ExceptHandler(kind, _, body):
            return f"except {ast.unparse(kind) if kind is not None else ''}: {_one_line(body[0])}"
        case ast.FunctionDef(name, arguments) | ast.AsyncFunctionDef(name, arguments):
            return f"def {name}({ast.unparse(arguments)})"
        case ast.If() | ast.While() | ast.For() | ast.With() | ast.AsyncWith() | ast.Match() | ast.ClassDef():
            return ast.unparse(statement).split("\n")[0]
        case _:
            return _one_line(statement)


def _one_line(statement: ast.AST) -> str:
    return " ".join(ast.unparse(statement).split())


Site = tuple[Place, ast.AST, ast.AST, str, ast.AST]


def _sites(node: ast.AST, function: str, statement: ast.AST | None, prefix: str = "") -> Iterator[Site]:
    """Every place below the node, what stands there, what to put there instead, and what that is part of."""
    for field, value in list(ast.iter_fields(node)):
        if _is_untouched(node, field):
            continue
        children = list(value) if isinstance(value, list) else [value]
        for position, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_text(child):
                continue
            around = child if isinstance(child, ast.stmt | ast.match_case | ast.ExceptHandler) else statement
            below, name = function, prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not function:
                yield from _sites(child.args, "", child)
                below = prefix + child.name
            elif isinstance(child, ast.ClassDef):
                name = f"{prefix}{child.name}."
            if around is not None and _may_change(child):
                place = Place(node, field, position if isinstance(value, list) else None)
                for replacement in _replacements(child, len(children)):
                    yield place, child, replacement, below, around
            yield from _sites(child, below, around, name)


def _is_text(node: ast.AST) -> bool:
    """Documentation, logging, errors' words: what is said to a person is no rule."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    call = node.value if isinstance(node, ast.Expr) else node
    return isinstance(call, ast.Call) and _called(call) in UNTOUCHED_CALLS


def _is_untouched(node: ast.AST, field: str) -> bool:
    if field in {"annotation", "returns", "decorator_list", "type_comment", "ctx", "bases", "type_params"}:
        return True
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return field == "args"  # its defaults belong to what surrounds it
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and _says_nothing(target.id) for target in node.targets)
    return isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr)


def _says_nothing(name: str) -> bool:
    """Lists of names, and names of types, such as `Next = Announce | Wait`: no run depends on them."""
    return name in {"__slots__", "__all__", "T"} or (name[0].isupper() and not name.isupper())


def _may_change(node: ast.AST) -> bool:
    return not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")


def _called(call: ast.Call) -> str:
    """The first name of what is called: `a` of `a.b(c)`."""
    function: ast.AST = call.func
    while isinstance(function, ast.Attribute):
        function = function.value
    return function.id if isinstance(function, ast.Name) else ""


def _replacements(node: ast.AST, siblings: int) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, ops, comparators):
            for number, operator in enumerate(ops):
                for other in COMPARISONS[type(operator)]:
                    yield ast.Compare(left, [*ops[:number], other(), *ops[number + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for others in _without_one(values):
                yield others[0] if len(others) == 1 else ast.BoolOp(op, others)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.AugAssign(target, op, value) if type(op) in ARITHMETIC:
            yield ast.AugAssign(target, ARITHMETIC[type(op)](), value)
            yield ast.Pass()
        case ast.IfExp(test, body, orelse):
            yield from (body, orelse, ast.IfExp(test, orelse, body))
        case ast.Constant(value):
            for constant in _constants(value):
                yield ast.Constant(constant)
        case ast.Attribute(ast.Name(owner), member, ctx) if owner in MEMBERS and member.isupper():
            members = MEMBERS[owner].split()
            yield ast.Attribute(node.value, members[(members.index(member) + 1) % len(members)], ctx)
        case ast.Call():
            yield from _calls(node)
        case ast.Tuple(elements, ast.Load()):
            yield from (ast.Tuple(others, ast.Load()) for others in _without_one(elements))
        case ast.List(elements, ast.Load()):
            yield from (ast.List(others, ast.Load()) for others in _without_one(elements))
        case ast.Set(elements):
            yield from (ast.Set(others) if others else _call("set") for others in _without_one(elements))
        case ast.Dict(keys, values):
            for number in range(len(keys)):
                yield ast.Dict([*keys[:number], *keys[number + 1 :]], [*values[:number], *values[number + 1 :]])
        case ast.comprehension(target, iterable, conditions, is_async) if conditions:
            yield ast.comprehension(target, iterable, [], is_async)
        case ast.MatchOr(patterns):
            for number in range(len(patterns)):
                rest = [*patterns[:number], *patterns[number + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.MatchOr(rest)
        case ast.match_case() if siblings > 1:
            yield ast.match_case(node.pattern, ast.Constant(value=False), node.body)
        case _:
            yield from _statements(node)


def _without_one(elements: list[ast.expr]) -> Iterator[list[ast.expr]]:
    for number in range(len(elements)):
        yield [*elements[:number], *elements[number + 1 :]]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.If(test, body, orelse) | ast.While(test, body, orelse):
            if not isinstance(test, ast.Compare | ast.Constant) and not _is_not(test):
                yield type(node)(ast.UnaryOp(ast.Not(), test), body, orelse)
            if isinstance(test, ast.BoolOp | ast.Call | ast.Name | ast.Attribute) and isinstance(node, ast.If):
                yield ast.If(ast.Constant(value=False), body, orelse)
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() | ast.Break() | ast.Continue() | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript(), *_], value):
            yield ast.Pass()
        case ast.Try(body, handlers, orelse, final) if final:
            yield ast.Try(body, handlers, orelse, [ast.Pass()])
        case ast.ExceptHandler(kind, name, body) if not isinstance(body[-1], ast.Raise):
            yield ast.ExceptHandler(kind, name, [ast.Raise()])
        case _:
            return


def _is_not(test: ast.AST) -> bool:
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _constants(value: object) -> tuple[bool | int | str | bytes, ...]:
    match value:
        case bool():
            return (not value,)
        case int():
            return (value + 1, value - 1) if value else (1,)
        case str():
            return ("",) if value else ("x",)
        case bytes():
            return (b"",)
        case _:
            return ()


def _calls(call: ast.Call) -> Iterator[ast.Call | ast.expr]:
    arguments, keywords = call.args, call.keywords
    if isinstance(call.func, ast.Name) and call.func.id in FUNCTIONS:
        yield ast.Call(ast.Name(FUNCTIONS[call.func.id], ast.Load()), arguments, keywords)
        if call.func.id in {"min", "max"} and len(arguments) > 1:
            yield from arguments
    for number in range(len(keywords)):
        yield ast.Call(call.func, arguments, [*keywords[:number], *keywords[number + 1 :]])
    if len(arguments) > 1:
        yield ast.Call(call.func, arguments[:-1], keywords)
    for number, argument in enumerate(arguments):
        if not isinstance(argument, ast.Constant | ast.Starred | ast.Lambda):
            nothing = ast.Constant(None)
            yield ast.Call(call.func, [*arguments[:number], nothing, *arguments[number + 1 :]], keywords)


def _call(name: str) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [], [])
