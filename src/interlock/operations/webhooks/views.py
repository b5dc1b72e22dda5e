"""The answer to a callback."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message


class CallbackResponse(Message):
    """The callback was accepted."""

    proto_name: ClassVar[str] = "interlock.v1.CallbackResponse"
