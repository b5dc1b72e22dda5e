"""Update masks: which fields of a message a caller wants to change.

C1's SDKs send one string of comma-separated lowerCamelCase paths; its documents also show an object with `paths` in
snake_case. Both are taken, in both spellings.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from interlock.contract.base import FieldShape, M, Message, Shape, shape_of, with_fields
from interlock.contract.scalars import kind_of, refused
from interlock.errors import Problem

EVERYTHING: Final = "*"
_FIELD: Final = "updateMask"


class FieldMask(str):
    """Paths as they were given, joined by commas, each once.

    An empty mask is false: what it means, as for a missing one, is the operation's to say.
    """

    __slots__ = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, as they were given."""
        return tuple(self.split(",")) if self else ()

    @classmethod
    def of(cls, paths: Collection[str]) -> Self:
        """From single paths; blanks around them and repetitions are dropped."""
        return cls(",".join(dict.fromkeys(path for path in map(str.strip, paths) if path)))

    @classmethod
    def _read(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls.of(value.split(","))
        if isinstance(value, dict):
            paths = value.get("paths")
            if paths is None:
                paths = []
            if isinstance(paths, list) and all(isinstance(path, str) for path in paths):
                return cls.of(paths)
        raise refused(
            f'expected paths, such as "displayName,enabled" or {{"paths": ["displayName"]}}; got {kind_of(value)}'
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.simple_ser_schema("str")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string"}


def check(mask: FieldMask, model: type[Message], mutable: Collection[str]) -> list[Problem]:
    """What is wrong with a mask over `model`, of whose fields (Python spelling) only `mutable` may be changed."""
    problems = []
    for path in mask.paths:
        if path == EVERYTHING:
            continue
        trail, reason = _resolve(model, path)
        if reason is None and trail[0].name not in mutable:
            reason = f"{trail[0].wire} is set by the server"
        if reason is not None:
            names = sorted(shape_of(model).fields[name].wire for name in mutable)
            problems.append(
                Problem(_FIELD, f"{path[:100]!r}: {reason}; fields that can be changed: {', '.join(names)}")
            )
    return problems


def apply(target: M, source: M, mask: FieldMask, mutable: Collection[str]) -> M:
    """`target` with the masked fields as they are in `source`; what `source` does not give is cleared.

    The mask has passed `check`. `*` stands for all of `mutable` (Python spelling).
    """
    model = type(target)
    for path in mask.paths:
        if path == EVERYTHING:
            target = copy_fields(target, source, mutable)
        else:
            target = _set(target, source, _resolve(model, path)[0])
    return target


def copy_fields(target: M, source: M, fields: Collection[str]) -> M:
    """`target` with `fields` (Python spelling) as they are in `source`, cleared where `source` does not give them."""
    return with_fields(target, **{name: getattr(source, name) for name in fields})


def _resolve(model: type[Message], path: str) -> tuple[list[FieldShape], str | None]:
    """The fields along a path, and why the path cannot be followed to its end."""
    trail: list[FieldShape] = []
    current: Shape | None = shape_of(model)
    for segment in path.split("."):
        if trail and trail[-1].repeated:
            return trail, f"{trail[-1].wire} is a list, which can only be replaced as a whole"
        if trail and trail[-1].mapping:
            return trail, f"{trail[-1].wire} can only be named as a whole"
        field = current.fields.get(segment) if current is not None else None
        if field is None:
            return trail, "there is no such field"
        trail.append(field)
        current = field.message
    return trail, None


def _set(target: M, source: Message | None, trail: list[FieldShape]) -> M:
    field, rest = trail[0], trail[1:]
    given = getattr(source, field.name) if source is not None else None
    if not rest:
        if given is None:
            given = type(target).model_fields[field.name].get_default(call_default_factory=True)
        value: object = given
    else:
        assert field.message is not None  # only messages have a rest
        inner = getattr(target, field.name)
        value = _set(inner if inner is not None else field.message.model(), given, rest)
    changes = {field.name: value}
    if value is not None:
        for arms in shape_of(type(target)).arms.values():
            if any(name == field.name for _, name in arms):
                changes |= {name: None for _, name in arms if name != field.name}
    return with_fields(target, **changes)
