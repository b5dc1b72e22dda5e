"""Every field of every message, with a value that is not its zero value."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from interlock.contract.base import FieldShape, Message, Shape, shape_of
from tests.compatibility.forms import schemas

_SPECIAL: Final[dict[tuple[str, str], Any]] = {
    ("UpdateAutomationRequest", "updateMask"): "displayName,enabled",
    ("UpdateRequest", "updateMask"): "displayName",
    ("FormTrigger", "form"): {"id": "f", "fields": [{"name": "n"}]},
    ("SetCredential", "connectorRef"): {"appId": "a", "id": "c"},
}


@cache
def _options(model: type[Message]) -> tuple[tuple[tuple[str, Any], ...], ...]:
    """For each field, or each oneof, the (wire name, value) pairs that show all of it."""
    shape = shape_of(model)
    slots: dict[str, list[tuple[str, Any]]] = {}
    for field in _own(shape):
        slot = slots.setdefault(field.oneof or field.wire, [])
        slot.extend((field.wire, value) for value in _values(model, field))
    return tuple(map(tuple, slots.values()))


def variants(model: type[Message]) -> list[dict[str, Any]]:
    """As few trees as show every field of the message, and of those within it, with a value, and every arm."""
    slots = _options(model)
    count = max(map(len, slots), default=1)
    return [dict(slot[min(at, len(slot) - 1)] for slot in slots) for at in range(count)]


def _own(shape: Shape) -> list[FieldShape]:
    return list({field.wire: field for field in shape.fields.values()}.values())


def _values(model: type[Message], field: FieldShape) -> list[Any]:
    if (special := _SPECIAL.get((model.__name__, field.wire))) is not None:
        return [special]
    if field.message is not None:
        inner = variants(field.message.model)
        return [inner] if field.repeated else inner
    return [_value(schemas(model)[field.wire], field.wire)]


def _value(schema: dict[str, Any], wire: str) -> Any:
    match schema:
        case {"enum": names}:
            return names[-1]
        case {"type": "array", "items": items}:
            return [_value(items, wire)]
        case {"format": "int64"}:
            return "9007199254740993"
        case {"type": "integer"}:
            return 7
        case {"format": "date-time"}:
            return "2026-01-02T03:04:05.678Z"
        case {"type": "string", "pattern": _}:
            return "90.5s"
        case {"type": "boolean"}:
            return True
        case {"type": "object", "additionalProperties": {"type": "string"}}:
            return {"key": "value"}
        case {"type": "object"}:
            return {"k": [1, None, {"x": True}]}
        case {"type": "string"}:
            return f"some {wire}"
    return {"any": "value"}


def reachable(model: type[Message]) -> set[type[Message]]:
    """The message and all within it."""
    found: set[type[Message]] = set()

    def visit(shape: Shape) -> None:
        if shape.model not in found:
            found.add(shape.model)
            for field in shape.fields.values():
                if field.message is not None:
                    visit(field.message)

    visit(shape_of(model))
    return found


def names(model: type[Message]) -> list[str]:
    return [field.wire for field in _own(shape_of(model))]
