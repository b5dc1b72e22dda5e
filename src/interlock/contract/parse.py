"""From the bytes of a body to a message, or to everything that is wrong with it.

Three passes, each over what the one before left: the guard (`interlock.contract.guard`) reads the JSON; `_clean` puts
it into the contract's spelling, drops nulls and unknown members and counts the arms of oneofs; pydantic checks types.
A caller who made three mistakes hears of three.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from interlock.contract.base import M, Shape, shape_of
from interlock.contract.guard import MAX_PROBLEMS, Path, loads, path_text
from interlock.contract.scalars import kind_of
from interlock.errors import InvalidArgument, Problem

__all__ = ["loads", "parse", "read"]

Found = tuple[Path, str]
"""Where, and what is wrong there."""

MAX_ITEMS: Final = 10_000
"""Items in all lists and maps of a body together, those inside a Struct apart: it bounds the work of one body."""

_EXPECTED: Final = {
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected an object",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
}


def parse(model: type[M], raw: bytes, *, prefix: str = "") -> M:
    """The message in a body. An empty body is an empty message.

    Raises InvalidArgument with a Problem for each thing that is wrong; their fields are paths below `prefix`.
    """
    if not raw or raw.isspace():
        return read(model, {}, prefix=prefix)
    # U+0000 is legal JSON, and what is in a Struct keeps it; in a name it would end a text early for every C library.
    return read(model, loads(raw), prefix=prefix, nul_possible=b"\\u0000" in raw)


def read(model: type[M], tree: Any, *, prefix: str = "", nul_possible: bool = True) -> M:
    """The message in a tree that has passed the guard. Raises InvalidArgument as `parse` does."""
    if type(tree) is not dict:
        raise InvalidArgument.at(prefix, f"expected an object; got {kind_of(tree)}")
    shape = shape_of(model)
    notes = _Notes(prefix)
    clean = _clean(shape, tree, (), notes)
    problems = notes.problems
    if nul_possible:
        problems.extend(_nuls(shape, clean, ()))
    message: M
    try:
        message = model.__pydantic_validator__.validate_python(clean, by_alias=True, by_name=False)
    except ValidationError as error:
        problems.extend(_problem(detail) for detail in error.errors(include_url=False))
    else:
        if not problems:
            return message
    raise InvalidArgument(problems=_limited(problems, prefix))


class _Notes:
    """What was met on the way through a body."""

    __slots__ = ("items", "prefix", "problems")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.problems: list[Found] = []
        self.items = 0

    def count(self, items: int, path: Path) -> None:
        self.items += items
        if self.items > MAX_ITEMS:
            raise InvalidArgument.at(
                path_text(path, self.prefix), f"the lists of a body may not hold more than {MAX_ITEMS} items"
            )


def _clean(shape: Shape, tree: Any, path: Path, notes: _Notes) -> Any:
    """The tree in the contract's own spelling, without nulls and unknown members."""
    if type(tree) is not dict:
        return tree  # pydantic will say so
    fields = shape.fields
    clean: dict[str, Any] = {}
    arms: list[str] = []
    for key, value in tree.items():
        if value is None or (field := fields.get(key)) is None:
            continue
        name, wire, inner, repeated, mapping, oneof = field
        if wire in clean:
            notes.problems.append(((*path, wire), f"is given twice, as {wire} and as {name}; give it once"))
        elif oneof is not None:
            arms.append(oneof)
        clean[wire] = value
        if repeated:
            if type(value) is list:
                notes.count(len(value), (*path, wire))
                if inner is not None:
                    clean[wire] = [_clean(inner, item, (*path, wire, at), notes) for at, item in enumerate(value)]
        elif inner is not None:
            clean[wire] = _clean(inner, value, (*path, wire), notes)
        elif mapping and wire in shape.text_maps and type(value) is dict:
            notes.count(len(value), (*path, wire))
    for wire in shape.model.required:
        # C1's schema takes null for the zero value of a member that has to be there.
        if wire not in tree and fields[wire].name not in tree:
            notes.problems.append(((*path, wire), "is required"))
    if len(arms) > 1:
        for oneof in dict.fromkeys(arms):
            given = [wire for wire, _ in shape.arms[oneof] if wire in clean]
            if len(given) > 1:
                names = f"{', '.join(given[:-1])} and {given[-1]}"
                notes.problems.append((path, f"{names} exclude each other (oneof {oneof}); give only one of them"))
    return clean


def _nuls(shape: Shape, clean: Any, path: Path) -> Iterator[Found]:
    """The texts with U+0000 in what `_clean` returned, but for values of another JSON type than their fields have.

    `_clean` leaves such a value as it came, with any names in its objects, and pydantic reports it.
    """
    if type(clean) is not dict:
        return
    for wire, value in clean.items():
        field = shape.fields[wire]
        items: list[tuple[Path, Any]] = [((*path, wire), value)]
        if field.repeated:
            items = [((*path, wire, index), item) for index, item in enumerate(value)] if type(value) is list else []
        elif wire in shape.text_maps and type(value) is dict:
            items = [((*path, wire, key), key + item) for key, item in value.items() if type(item) is str]
        for where, item in items:
            if field.message is not None:
                yield from _nuls(field.message, item, where)
            elif type(item) is str and "\0" in item:
                yield where, "must not hold the character U+0000"


def _problem(detail: ErrorDetails) -> Found:
    expected = _EXPECTED.get(detail["type"])
    return detail["loc"], detail["msg"] if expected is None else f"{expected}; got {kind_of(detail['input'])}"


def _limited(problems: list[Found], prefix: str) -> tuple[Problem, ...]:
    """As many as a person will read; the rest is counted."""
    shown = [Problem(path_text(path, prefix), description) for path, description in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        shown.append(Problem(prefix, f"and {len(problems) - MAX_PROBLEMS} more problems"))
    return tuple(shown)
