"""Views that several resources share."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message


class ActorView(Message):
    """The caller of a request."""

    proto_name: ClassVar[str] = "interlock.v1.Actor"

    client: str = ""
    principal: str = ""
    address: str = ""
