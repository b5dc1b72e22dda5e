"""What every message is: immutable, spelled in lowerCamelCase on the wire, with zero values for what was not given.

The JSON form follows proto3 with "emit unpopulated", less its nulls: scalars, enums, lists and maps are always there;
unset messages, timestamps, durations, structs and oneof arms are left out; null appears only inside a Struct, where the
caller put it. No published client trips over that form.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from interlock.rules.values import value

LATER: Final = ConfigDict(defer_build=True)
"""For type adapters of messages: built when first used, not when the program starts."""

Oneofs = Mapping[str, tuple[str, ...]]
"""Name of a oneof → its arms, in wire spelling. At most one arm may be set."""

NO_ONEOFS: Oneofs = types.MappingProxyType({})


class Message(BaseModel):
    """Base of all messages.

    Instances are values: change one with `with_fields`. Repeated fields are tuples. A field that was given, even as its
    zero value, is in `model_fields_set`; one that was absent or null is not (see `given`).
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        defer_build=True,
    )

    proto_name: ClassVar[str] = ""
    """Full protobuf name; the name of the schema in the OpenAPI document."""

    oneofs: ClassVar[Oneofs] = NO_ONEOFS

    required: ClassVar[tuple[str, ...]] = ()
    """Members, in wire spelling, that a caller has to give: those that C1's schema requires."""

    def arm(self, oneof: str) -> tuple[str, Any] | None:
        """The arm of `oneof` that is set, as (wire name, value); None if none is."""
        for wire, field in shape_of(type(self)).arms[oneof]:
            value = getattr(self, field)
            if value is not None:
                return wire, value
        return None

    def given(self, field: str) -> bool:
        """Whether the caller gave the field (Python spelling), even as its zero value."""
        return field in self.model_fields_set


M = TypeVar("M", bound=Message)


def with_fields(message: M, **changes: object) -> M:
    """A copy with some fields replaced (Python spelling). The values are trusted, the names are not."""
    unknown = changes.keys() - type(message).model_fields.keys()
    if unknown:
        raise TypeError(f"{type(message).__name__} has no field {', '.join(sorted(unknown))}")
    return message.model_copy(update=changes)


def to_wire(message: Message) -> dict[str, Any]:
    """The JSON form as a tree of dicts, lists and scalars."""
    tree: dict[str, Any] = message.__pydantic_serializer__.to_python(
        message, mode="json", by_alias=True, exclude_none=True
    )
    return tree


def to_json(message: Message) -> bytes:
    """The JSON form as UTF-8 bytes."""
    return message.__pydantic_serializer__.to_json(message, by_alias=True, exclude_none=True)


def to_stored(message: Message) -> bytes:
    """JSON that loses nothing: as on the wire, but only the fields that were given, so that their presence survives."""
    return message.__pydantic_serializer__.to_json(message, by_alias=True, exclude_none=True, exclude_unset=True)


def from_stored(model: type[M], stored: bytes | str) -> M:
    """The message that `to_stored` wrote. What is stored is trusted: neither the guard nor the oneofs are run again."""
    return model.model_validate_json(stored)


def pack_any(message: Message) -> dict[str, Any]:
    """A google.protobuf.Any in its JSON form: the message's members and its type's name in `@type`."""
    return {"@type": f"type.googleapis.com/{message.proto_name}", **to_wire(message)}


# ── the shape of a message, for code that walks JSON trees ─────────────────────────────────────────────────────────


class FieldShape(NamedTuple):
    """One field: how it is spelled, and what it holds."""

    name: str
    """Python spelling, which is also the protobuf one."""
    wire: str
    """lowerCamelCase, as it is sent."""
    message: Shape | None
    """The message it holds; None for scalars, enums, maps and structs."""
    repeated: bool
    mapping: bool
    """A Struct or a map from text to text: its keys are the caller's, not the contract's."""
    oneof: str | None
    """The oneof it is an arm of."""


@value(frozen=True, slots=True)
class Shape:
    """The fields of a message."""

    model: type[Message]
    fields: Mapping[str, FieldShape]
    """By each of its spellings."""
    arms: Mapping[str, tuple[tuple[str, str], ...]]
    """Name of each oneof → (wire name, Python name) of its arms."""
    text_maps: frozenset[str]
    """Wire names of the maps from text to text."""


@cache
def shape_of(model: type[Message]) -> Shape:
    """The shape of a message, worked out once."""
    oneof_of = {wire: oneof for oneof, wires in model.oneofs.items() for wire in wires}
    fields: dict[str, FieldShape] = {}
    for name, info in model.model_fields.items():
        wire = info.alias or name
        message, repeated, mapping = _describe(info.annotation)
        inner = shape_of(message) if message is not None else None
        fields[name] = fields[wire] = FieldShape(name, wire, inner, repeated, mapping, oneof_of.get(wire))
    arms = {oneof: tuple((wire, fields[wire].name) for wire in wires) for oneof, wires in model.oneofs.items()}
    text_maps = frozenset(field.wire for field in fields.values() if _is_text_map(model, field.name))
    return Shape(model, fields, arms, text_maps)


def _is_text_map(model: type[Message], name: str) -> bool:
    annotation = model.model_fields[name].annotation
    return get_origin(annotation) is dict and get_args(annotation) == (str, str)


def _describe(annotation: Any) -> tuple[type[Message] | None, bool, bool]:
    """(message, repeated, mapping) of a field's type."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        return _describe(inner[0])
    if origin is tuple:
        return _describe(get_args(annotation)[0])[0], True, False
    if origin is dict:
        return None, False, True
    if isinstance(annotation, type) and issubclass(annotation, Message):
        return annotation, False, False
    inner_type = getattr(annotation, "__origin__", None)  # Annotated[T, …]
    return _describe(inner_type) if inner_type is not None else (None, False, False)
