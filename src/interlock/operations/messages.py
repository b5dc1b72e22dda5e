"""Builds the validators of all messages after the start, one at a time.

A validator is otherwise built at its first use, so that the server starts quickly. Building the largest takes 60 ms,
and no request should do that while terminations wait.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.contract.base import Message, shape_of
from interlock.operations.table import OPERATIONS
from interlock.system import yield_to_loop


async def build_messages() -> None:
    """Build the validators that are not built yet, innermost messages first, and yield to the loop after each."""
    seen: set[type[Message]] = set()
    for operation in OPERATIONS:
        for message in (operation.request, operation.response):
            if isinstance(message, type) and issubclass(message, Message):
                for model in _innermost_first(message, seen):
                    model.model_rebuild()
                    await yield_to_loop()


def _innermost_first(model: type[Message], seen: set[type[Message]]) -> Iterator[type[Message]]:
    if model in seen:
        return
    seen.add(model)
    for field in shape_of(model).fields.values():
        if field.message is not None:
            yield from _innermost_first(field.message.model, seen)
    yield model
