"""The OpenAPI 3.1 document, made from the operation table and the messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from interlock import __version__
from interlock.contract.base import Message
from interlock.contract.status import Status
from interlock.operations.operation import Operation, PathParameter

_REF: Final = "#/components/schemas/"
_INT64: Final = {"type": "string", "format": "int64"}
_ERRORS: Final = {
    "400": "The request is not valid, or not possible in the present state (codes 3 and 9).",
    "401": "A valid bearer token is required (code 16).",
    "403": "The caller's role does not allow this (code 7).",
    "404": "Unknown, or not visible to the caller (code 5).",
    "409": "It clashes with an earlier request, or was changed meanwhile (codes 6 and 10).",
    "413": "The body is too large.",
    "415": "The body is not plain JSON.",
    "429": "Too many requests (code 8); see `Retry-After`.",
    "503": "Not now (code 14); see `Retry-After`.",
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document for these operations; aliases are left out, as they are other spellings of the same."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    schemas.refer(Status, "")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Interlock",
            "version": __version__,
            "description": "C1's Automations API, and Interlock's own additions under /interlock/v1.",
        },
        "servers": [
            {
                "url": "https://{tenantDomain}.conductor.one",
                "description": "The C1 API server for the current tenant.",
                "variables": {
                    "tenantDomain": {
                        "default": "example",
                        "description": "The domain of the tenant to use for this request.",
                    }
                },
            },
            {"url": "/", "description": "This server."},
        ],
        "security": [{"bearerAuth": [], "oauth": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.found.items())),
            "securitySchemes": {
                "bearerAuth": {"type": "http", "scheme": "bearer"},
                "oauth": {
                    "type": "oauth2",
                    "description": "OAuth 2.0 client credentials, sent in the body and never in a header: a signed "
                    "assertion, or the client secret.",
                    "flows": {"clientCredentials": {"tokenUrl": "/auth/v1/token", "scopes": {}}},
                },
            },
        },
    }


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "operationId": operation.id,
    }
    named = {parameter.name: parameter for parameter in operation.parameters}
    parameters = [
        _parameter(named.get(name, PathParameter(name, ""))) for name in re.findall(r"{(\w+)}", operation.path)
    ]
    parameters += [{"in": "query", "name": name, "schema": {"type": "string"}} for name in operation.query]
    if parameters:
        found["parameters"] = parameters
    if operation.request is not None:
        schema = schemas.refer(operation.request, "Input")
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    elif operation.raw_body:
        found["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
    answers: dict[str, Any] = {
        "200": {
            "description": "Successful response",
            "content": {
                "application/json": {"schema": schemas.refer(operation.response, "")},
                **{media_type: {"schema": {"type": "string"}} for media_type in operation.documents},
            },
        }
    }
    status = {"application/json": {"schema": {"$ref": f"{_REF}{Status.proto_name}"}}}
    for code, text in _ERRORS.items():
        answers[code] = {"description": text, "content": status}
    found["responses"] = answers
    if operation.permission is None:
        found["security"] = []
    return found


def _parameter(parameter: PathParameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "description": parameter.description}
    if parameter.int64:
        schema |= {"format": "int64", "readOnly": False, "pattern": "^[1-9][0-9]{0,18}$"}
    return {"in": "path", "name": parameter.name, "required": True, "schema": schema}


class _Schemas:
    """Collects the schemas of messages under their protobuf names; requests end in `Input`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def refer(self, message: type[Message], suffix: str) -> dict[str, str]:
        name = (message.proto_name or f"interlock.v1.{message.__name__}") + suffix
        if name not in self.found:
            # Taken before it is filled in, for messages that hold messages of their own kind.
            self.found[name] = {}
            schema = message.model_json_schema(
                by_alias=True, mode="validation" if suffix else "serialization", ref_template="{model}"
            )
            definitions: dict[str, Any] = schema.pop("$defs", {})
            self.found[name] = _titled(self._inlined(schema, definitions), message.__name__)
        return {"$ref": f"{_REF}{name}"}

    def _inlined(self, node: Any, definitions: dict[str, Any], above: tuple[str, ...] = ()) -> Any:
        """The schema with pydantic's local references written out, and its nulls taken away: null means absent."""
        if isinstance(node, list):
            return [self._inlined(item, definitions, above) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference in above:
                return {"type": "object"}
            return self._inlined(definitions[reference], definitions, (*above, reference))
        choices = node.get("anyOf")
        if isinstance(choices, list):
            kept = [choice for choice in choices if choice != {"type": "null"}]
            if len(kept) == 1:
                rest = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
                inner = self._inlined(kept[0], definitions, above)
                return {**rest, **inner} if isinstance(inner, dict) else rest
        return {
            key: self._inlined(value, definitions, above)
            for key, value in node.items()
            if not (key == "default" and value is None)
        }


def _titled(schema: dict[str, Any], name: str) -> dict[str, Any]:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return {**schema, "title": words, "type": "object"}
