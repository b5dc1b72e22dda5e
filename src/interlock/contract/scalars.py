"""Scalar types of the contract, read as strictly as proto3 JSON allows.

int64 travels as text, int32 and uint32 as numbers; each is accepted in either form. Python's own conversions are too
kind for input from outside: `int(" 1_000\\n")` is 1000.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, PlainSerializer, PlainValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
_FLOAT_EXACT: Final = 2.0**53
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)


def refused(description: str) -> PydanticCustomError:
    """The error of a validator, with the text that the caller will see."""
    return PydanticCustomError("contract", "{description}", {"description": description})


def kind_of(value: object) -> str:
    """What a JSON value is, in words a caller knows."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case dict():
            return "an object"
        case _:
            return "a list"


def _whole(value: Any, low: int, high: int) -> int:
    exact = type(value) is float and value.is_integer() and abs(value) <= _FLOAT_EXACT
    if type(value) is int:
        number = value
    elif exact or (type(value) is str and _WHOLE.fullmatch(value)):
        number = int(value)
    else:
        got = repr(value[:40]) if isinstance(value, str) else kind_of(value)
        if type(value) is float:
            got = "a number too large to be exact (send it as text)" if value.is_integer() else "a fraction"
        raise refused(f'expected a whole number, such as 12 or "12" (no sign +, blanks or underscores); got {got}')
    if not low <= number <= high:
        raise refused(f"must be between {low} and {high}")
    return number


def _int64(value: Any) -> int:
    return _whole(value, INT64_MIN, INT64_MAX)


def _int32(value: Any) -> int:
    return _whole(value, -(2**31), 2**31 - 1)


def _uint32(value: Any) -> int:
    return _whole(value, 0, 2**32 - 1)


Int64 = Annotated[
    int,
    PlainValidator(_int64),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "int64"}),
]
"""A number of 64 bits; text on the wire."""

Int32 = Annotated[int, PlainValidator(_int32), WithJsonSchema({"type": "integer", "format": "int32"})]
"""A number of 32 bits; a number on the wire."""

UInt32 = Annotated[int, PlainValidator(_uint32), WithJsonSchema({"type": "integer", "format": "uint32", "minimum": 0})]
"""A number of 32 bits, not negative; a number on the wire."""

Bool = Annotated[bool, Strict()]
"""`true` or `false`; neither 1 nor "true" will do."""

Struct = dict[str, Any]
"""google.protobuf.Struct: any JSON object, kept as it is, nulls inside included."""


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if type(value) is list:
        return [_without_nulls(item) for item in value if item is not None]
    return value


Verbatim = Annotated[dict[str, Any], AfterValidator(_without_nulls)]
"""An object whose members are kept as they come, but, as everywhere outside a Struct, without its nulls."""
