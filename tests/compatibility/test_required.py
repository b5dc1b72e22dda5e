"""Members that C1's schema requires are required here too, in every message that a caller sends."""

from __future__ import annotations

from typing import Any

import pytest
from conductorone_sdk.models import shared

from interlock.contract.base import Message, to_wire
from interlock.contract.parse import read
from interlock.errors import InvalidArgument
from tests.compatibility.fields import variants
from tests.contract.messages import MESSAGES


def required_by_sdk(model: type[Message]) -> set[str]:
    """The members that the published SDK, which is made from C1's schema, requires of a message."""
    known = getattr(shared, model.proto_name.rpartition(".")[2], None)
    fields: dict[str, Any] = getattr(known, "model_fields", {})
    return {field.alias or name for name, field in fields.items() if field.is_required()}


def test_required_members_are_those_of_the_schema() -> None:
    ours = {model.proto_name: set(model.required) for model in MESSAGES}
    theirs = {model.proto_name: required_by_sdk(model) for model in MESSAGES}
    assert ours == theirs
    assert sum(map(len, theirs.values())) >= 3  # the schema is looked at, and requires something


@pytest.mark.parametrize(
    ("model", "member"),
    [(model, member) for model in MESSAGES for member in model.required],
    ids=lambda value: value if isinstance(value, str) else value.proto_name,
)
def test_absent_required_member_is_named(model: type[Message], member: str) -> None:
    full = variants(model)[0]
    assert to_wire(read(model, full))[member] == full[member]
    with pytest.raises(InvalidArgument, match=f"{member}: is required"):
        read(model, {name: value for name, value in full.items() if name != member})
