"""The form of what is sent: what must come back of what was given, and what every published client can read."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from interlock.contract.base import FieldShape, Message, Shape, shape_of
from interlock.contract.times import Timestamp
from tests.compatibility.transcripts import load

_PUBLISHED: Final = json.loads((Path(__file__).parents[1] / "fixtures" / "contract-fields.json").read_bytes())[
    "messages"
]
_RECORDED: Final = load("accepted-replies")
_NULLS: Final[dict[str, list[str]]] = _RECORDED["typescriptRejectsNull"]
_REQUIRED: Final[dict[str, list[str]]] = _RECORDED["typescriptRequires"]
_TYPESCRIPT_NAMES: Final = {"CreateAutomationResponse": "AutomationsCreateAutomationResponse"}
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)

TYPESCRIPT: Final = "typescript"
GO: Final = "go"
READERS: Final = (TYPESCRIPT, GO)


def kept(given: Any, emitted: Any) -> bool:
    """Whether all that was given is emitted. Null is the same as not given, and a moment may be spelt otherwise."""
    return not lost(given, emitted)


def lost(given: Any, emitted: Any, path: str = "") -> list[str]:
    """The paths of what was given and did not come back identically."""
    if given is None:
        return []
    if isinstance(given, dict) and isinstance(emitted, dict):
        return [
            where
            for name, value in given.items()
            if value is not None
            for where in lost(value, emitted.get(name), f"{path}.{name}" if path else name)
        ]
    if isinstance(given, list) and isinstance(emitted, list) and len(given) == len(emitted):
        return [where for at, item in enumerate(given) for where in lost(item, emitted[at], f"{path}[{at}]")]
    if type(given) is type(emitted) and (given == emitted or _same_moment(given, emitted)):
        return []
    return [path]


def _same_moment(given: Any, emitted: Any) -> bool:
    return isinstance(given, str) and _MOMENT.fullmatch(given) is not None and Timestamp(given) == emitted


# ── zero values at every depth ───────────────────────────────────────────────────────────────────────────────────────


def zeroes_missing(model: type[Message], tree: dict[str, Any], path: str = "") -> list[str]:
    """The paths of scalars, enums, lists and maps that should have been sent with their zero value, and were not."""
    published, shape = _PUBLISHED[model.proto_name], shape_of(model)
    arms = {wire for wires in published["oneofs"].values() for wire in wires}
    missing = [
        f"{path}{wire}"
        for wire, zero in published["fields"].items()
        if zero != "(absent)" and wire not in arms and wire not in tree
    ]
    for wire, value in tree.items():
        for where, item in _below(shape.fields[wire], value, f"{path}{wire}"):
            missing += zeroes_missing(where.model, item[1], f"{item[0]}.")
    return missing


def _below(field: FieldShape, value: Any, path: str) -> list[tuple[Shape, tuple[str, Any]]]:
    if field.message is None or not isinstance(value, dict | list):
        return []
    if field.repeated:
        return [(field.message, (f"{path}[{at}]", item)) for at, item in enumerate(value) if isinstance(item, dict)]
    return [(field.message, (path, value))]


# ── what the clients that cannot run here accept ─────────────────────────────────────────────────────────────────────


def refusals(reader: str, model: type[Message], status: int, content_type: str, body: str) -> list[str]:
    """Why the TypeScript or the Go SDK would throw at a reply; empty if it takes it.

    A model of the two clients, held by `test_readers` against what they were seen to accept and to reject.
    """
    if status != 200:
        return [f"status {status}"]
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return [f"content type {content_type!r}"]
    try:
        tree = json.loads(body)
    except ValueError:
        return ["the body is no JSON"]
    if tree is None:
        return ["the body is null"] if reader == TYPESCRIPT else []
    if not isinstance(tree, dict):
        return ["the body is no object"]
    return _refused(reader, shape_of(model), tree, "")


def _refused(reader: str, shape: Shape, tree: dict[str, Any], path: str) -> list[str]:
    found: list[str] = []
    name = shape.model.__name__
    if reader == TYPESCRIPT:
        found += [f"{path}{wire} is missing" for wire in _REQUIRED.get(name, ()) if tree.get(wire) is None]
    for wire, value in tree.items():
        field = shape.fields.get(wire)
        if field is None:
            continue
        where = f"{path}{wire}"
        if value is None:
            if reader == TYPESCRIPT and wire in _NULLS.get(_TYPESCRIPT_NAMES.get(name, name), ()):
                found.append(f"{where} is null")
            continue
        if field.repeated:
            if not isinstance(value, list):
                found.append(f"{where} is no list")
                continue
        elif field.message is not None or field.mapping:
            if not isinstance(value, dict):
                found.append(f"{where} is no object")
                continue
        elif not _scalar_read(reader, shape.model, wire, value):
            found.append(f"{where} is {value!r}")
            continue
        for inner, item in _below(field, value, where):
            found += _refused(reader, inner, item[1], f"{item[0]}.")
    return found


def _scalar_read(reader: str, model: type[Message], wire: str, value: Any) -> bool:
    schema = schemas(model)[wire]
    match schema:
        case {"type": "string", "format": "int64"}:
            return isinstance(value, str) and (reader == TYPESCRIPT or re.fullmatch(r"[+-]?\d+", value) is not None)
        case {"type": "string", "format": "date-time"}:
            return isinstance(value, str) and _MOMENT.fullmatch(value) is not None
        case {"type": "string"} | {"enum": _}:
            return isinstance(value, str)
        case {"type": "boolean"}:
            return isinstance(value, bool)
        case {"type": "integer"}:
            return isinstance(value, int) and not isinstance(value, bool)
    raise AssertionError(f"no rule for {model.__name__}.{wire}: {schema}")


@cache
def schemas(model: type[Message]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema().get("properties", {})
    return {
        wire: next((option for option in schema.get("anyOf", ()) if option != {"type": "null"}), schema)
        for wire, schema in properties.items()
    }
