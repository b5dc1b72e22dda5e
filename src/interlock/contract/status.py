"""google.rpc.Status, the body of every error, and the details that go with it."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.scalars import Int32, Struct


class FieldViolation(Message):
    """One invalid field, and how to fix it."""

    proto_name: ClassVar[str] = "google.rpc.BadRequest.FieldViolation"

    field: str = ""
    description: str = ""


class BadRequest(Message):
    """All fields that are wrong."""

    proto_name: ClassVar[str] = "google.rpc.BadRequest"

    field_violations: tuple[FieldViolation, ...] = ()


class Status(Message):
    """What went wrong: a google.rpc.Code, a text for people, and details, each a google.protobuf.Any."""

    proto_name: ClassVar[str] = "google.rpc.Status"

    code: Int32 = 0
    message: str = ""
    details: tuple[Struct, ...] = ()
