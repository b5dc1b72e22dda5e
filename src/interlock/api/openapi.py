"""The OpenAPI 3.1 document of the operation table and the messages.

Making it takes half a second, in which no terminate could be answered. So `python -m tools.openapi` makes it when the
source changes, it is committed beside this file, and a test fails if it is not up to date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from interlock import __version__
from interlock.contract.base import Message, shape_of
from interlock.contract.status import Status
from interlock.operations.operation import Operation, PathParameter

_REF: Final = "#/components/schemas/"
_ERRORS: Final = {
    "400": "The request is not valid, or not possible in the current state (codes 3 and 9).",
    "401": "A valid bearer token is required (code 16).",
    "403": "The caller's role does not allow this (code 7).",
    "404": "Unknown, or not visible to the caller (code 5).",
    "409": "The request conflicts with an earlier one, or the resource was changed meanwhile (codes 6 and 10).",
    "413": "The body is too large (code 3).",
    "415": "The body is not plain JSON (code 3).",
    "429": "Too many requests (code 8); see `Retry-After`.",
    "503": "Temporarily unavailable (code 14); see `Retry-After`.",
}
_WITH_BODY: Final = frozenset({"413", "415"})
_OAUTH: Final = (
    "This API uses OAuth2 with the Client Credential flow.\n"
    "Client Credentials must be sent in the BODY, not the headers.\n"
    "For an example of how to implement this, refer to the [c1TokenSource.Token()]"
    "(https://github.com/ConductorOne/conductorone-sdk-go/blob/3375fe7c0126d17e7ec4e711693dee7b791023aa/"
    "token_source.go#L101-L187) function."
)


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document of these operations, without their aliases."""
    rows = tuple(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in rows:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
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
            "schemas": _schemas(rows),
            "securitySchemes": {
                "bearerAuth": {"type": "http", "scheme": "bearer"},
                "oauth": {
                    "type": "oauth2",
                    "description": _OAUTH,
                    "flows": {"clientCredentials": {"tokenUrl": "/auth/v1/token", "scopes": {}}},
                },
            },
        },
    }


# --- operations -------------------------------------------------------------------------------------------------------


def _operation(operation: Operation) -> dict[str, Any]:
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
    parameters += [{"in": "query", "name": name, "schema": _QUERY.get(name, _TEXT)} for name in operation.query]
    parameters += [
        {"in": "header", "name": header.name, "description": header.description, "schema": _TEXT}
        for header in operation.reads
    ]
    if parameters:
        found["parameters"] = parameters
    if operation.request is not None:
        schema: dict[str, Any] = {"$ref": f"{_REF}{_name(operation.request)}"}
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    elif operation.raw_body:
        found["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
    found["responses"] = _answers(operation)
    if operation.permission is None:
        found["security"] = []
    return found


_TEXT: Final = {"type": "string"}
_QUERY: Final[Mapping[str, dict[str, Any]]] = {
    "page_size": {"type": "integer", "format": "int32", "minimum": 0},
    "format": {"type": "string", "enum": ["json", "markdown"]},
}


def _parameter(parameter: PathParameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": parameter.description, "type": "string"}
    if parameter.int64:
        schema |= {"format": "int64", "readOnly": False, "pattern": "^[1-9][0-9]{0,18}$"}
    return {"in": "path", "name": parameter.name, "required": True, "schema": schema}


def _answers(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"{_REF}{_name(operation.response)}"}}}
    content |= {media_type: {"schema": {"type": "string"}} for media_type in operation.documents}
    answers: dict[str, Any] = {"200": {"description": "Successful response", "content": content}}
    if operation.answers_with:
        answers["200"]["headers"] = {
            header.name: {"description": header.description, "schema": _TEXT} for header in operation.answers_with
        }
    if operation.link is not None:
        link = operation.link
        answers["200"]["links"] = {
            target.rpartition(".")[2]: {
                "operationId": target,
                "parameters": {link.parameter: f"$response.body#{link.pointer}"},
            }
            for target in link.operations
        }
    takes_body = operation.request is not None or operation.raw_body
    status = {"application/json": {"schema": {"$ref": f"{_REF}{_name(Status)}"}}}
    for code, text in _ERRORS.items():
        if takes_body or code not in _WITH_BODY:
            answers[code] = {"description": text, "content": status}
    return answers


# --- messages ---------------------------------------------------------------------------------------------------------


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the schema of each message of a request or an answer, and of the messages inside them."""
    models: dict[type[Message], None] = {}
    _collect(Status, models)
    for operation in operations:
        _collect(operation.response, models)
        if operation.request is not None:
            _collect(operation.request, models)
    references, generated = models_json_schema(
        [(model, "validation") for model in models], ref_template=f"{_REF}{{model}}", schema_generator=_Generator
    )
    keys = {model: references[model, "validation"]["$ref"] for model in models}
    renamed = {key: f"{_REF}{_name(model)}" for model, key in keys.items()}
    definitions = generated["$defs"]
    found = {
        _name(model): _described(_clean(definitions[key.removeprefix(_REF)], renamed), model)
        for model, key in keys.items()
    }
    return dict(sorted(found.items()))


class _Generator(GenerateJsonSchema):
    """Does not warn of defaults that JSON cannot express: they are the zero values of proto3."""

    ignored_warning_kinds = {*GenerateJsonSchema.ignored_warning_kinds, "non-serializable-default"}  # noqa: RUF012


def _collect(model: type[Message], found: dict[type[Message], None]) -> None:
    if model in found:
        return
    found[model] = None
    for field in shape_of(model).fields.values():
        if field.message is not None:
            _collect(field.message.model, found)


def _name(model: type[Message]) -> str:
    return model.proto_name or f"interlock.v1.{model.__name__}"


def _clean(node: Any, renamed: Mapping[str, str]) -> Any:
    """Return a schema with references by protobuf names, without nulls and defaults: null means absent."""
    if isinstance(node, list):
        return [_clean(item, renamed) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        return {**{key: value for key, value in node.items() if key == "description"}, "$ref": renamed[reference]}
    kept = {key: value for key, value in node.items() if key not in _LEFT_OUT or not _is_schema(node)}
    choices = kept.get("anyOf")
    if isinstance(choices, list):
        real = [choice for choice in choices if choice != {"type": "null"}]
        if len(real) == 1:
            del kept["anyOf"]
            inner = _clean(real[0], renamed)
            return {**inner, **_clean(kept, renamed)}
        kept["anyOf"] = real
    return {key: _clean(value, renamed) for key, value in kept.items()}


_LEFT_OUT: Final = frozenset({"default", "required", "title"})


def _is_schema(node: Mapping[str, Any]) -> bool:
    """Whether a node is a schema, and not the properties of an object, which may have these names."""
    return not all(isinstance(value, dict) for value in node.values())


def _described(schema: dict[str, Any], model: type[Message]) -> dict[str, Any]:
    name = model.__name__
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    text = f"The {name} message." if model.proto_name.startswith("c1.") else schema.get("description", "")
    required = {"required": list(model.required)} if model.required else {}
    return {
        **schema,
        "description": text,
        **required,
        "title": words,
        "type": "object",
        "x-speakeasy-name-override": name,
    }
