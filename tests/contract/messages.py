"""Every message of the contract, and JSON trees for each of them as hypothesis draws them."""

from functools import cache
from typing import Any

from hypothesis import strategies as st

from interlock.contract import automations, executions, search, status, steps, triggers, webhooks
from interlock.contract.base import FieldShape, Message, shape_of

FAMILIES = (automations, executions, search, status, steps, triggers, webhooks)


def _all_messages(base: type[Message]) -> list[type[Message]]:
    found = [model for sub in base.__subclasses__() for model in (sub, *_all_messages(sub))]
    return [model for model in found if model.__module__.startswith("interlock.contract.")]


MESSAGES = sorted(
    (m for m in _all_messages(Message) if m.__module__.startswith("interlock.")), key=lambda m: m.proto_name
)


def short(value: object) -> str:
    """An id for a case: long poison shows only its beginning and its length."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…{len(text)}"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
STRUCT = st.dictionaries(TEXT, JSON, max_size=3)
TIMESTAMPS = st.builds(
    lambda moment, digits, zone: f"{moment.isoformat()[:19]}{digits and '.' + digits}{zone}",
    st.datetimes().filter(lambda moment: 1 < moment.year < 9999),
    st.from_regex(r"[0-9]{0,9}", fullmatch=True),
    st.sampled_from(["Z", "z", "+00:00", "+05:30", "-11:00"]),
)
DURATIONS = st.builds(
    lambda seconds, digits: f"{seconds}{digits and '.' + digits}s",
    st.integers(0, 315_575_999_999),
    st.from_regex(r"[0-9]{0,9}", fullmatch=True),
) | st.sampled_from(["336h", "1h30m", "1.5h", "300ms", "0s"])
SPECIAL = {  # narrower than its type
    ("TerminateAutomationRequest", "reason"): st.sampled_from(["", "wrong person", "Grüße"]),
    ("ExecuteAutomationRequest", "lease"): st.sampled_from(["1s", "10m", "720h"]),
    ("TerminateAutomationRequest", "deadline"): st.sampled_from(["0s", "10s", "5m", "2.5s"]),
    ("FormTrigger", "form"): STRUCT,
}


@cache
def _properties(model: type[Message]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema().get("properties", {})
    return properties


@cache
def trees(model: type[Message]) -> st.SearchStrategy[dict[str, Any]]:
    """Valid JSON trees of a message: required and other fields, in either spelling, some null, one arm of a oneof."""

    @st.composite
    def draw_tree(draw: st.DrawFn) -> dict[str, Any]:
        shape = shape_of(model)
        properties = _properties(model)
        tree: dict[str, Any] = {}
        taken: set[str] = set()
        for field in {field.wire: field for field in shape.fields.values()}.values():
            if field.wire not in model.required and not draw(st.booleans()):
                continue
            key = draw(st.sampled_from([field.wire, field.name]))
            if draw(st.integers(0, 9)) == 0:
                tree[key] = None
            elif field.oneof is None or field.oneof not in taken:
                taken.add(field.oneof or "")
                tree[key] = draw(_values(model, field, properties[field.wire]))
        return tree

    return draw_tree()


def _values(model: type[Message], field: FieldShape, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if (special := SPECIAL.get((model.__name__, field.wire))) is not None:
        return special
    if field.message is not None:
        one = trees(field.message.model)
        return st.lists(one, max_size=2) if field.repeated else one
    return _scalars(next((option for option in schema.get("anyOf", ()) if option != {"type": "null"}), schema), field)


def _scalars(schema: dict[str, Any], field: FieldShape) -> st.SearchStrategy[Any]:
    match schema:
        case {"enum": names}:
            return st.sampled_from(names)
        case {"type": "array", "items": {"additionalProperties": True}}:
            return st.lists(STRUCT, max_size=2)
        case {"type": "array", "items": items}:
            return st.lists(_scalars(items, field), max_size=2)
        case {"format": "int64"}:
            return INT64 | INT64.map(str)
        case {"format": "int32"}:
            return INT32 | INT32.map(str)
        case {"format": "uint32"}:
            return UINT32 | UINT32.map(str)
        case {"format": "date-time"}:
            return TIMESTAMPS
        case {"pattern": _}:
            return DURATIONS
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "object", "additionalProperties": {"type": "string"}}:
            return st.dictionaries(TEXT, TEXT, max_size=2)
        case {"type": "object"}:
            return STRUCT
        case {"type": "string"}:
            if field.wire == "updateMask":
                return st.sampled_from(["", "displayName", "displayName,enabled", "context.context"])
            return TEXT
    raise AssertionError(f"no strategy for {field} {schema}")
