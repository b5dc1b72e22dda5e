"""Builds the validators of all messages after the start, a slice at a time.

A validator is built when it is first used, so that the server starts quickly. That work is up to 60 ms for the largest
message, and no request should have to do it while terminations wait.
"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.contract.base import Message, shape_of
from interlock.operations.table import OPERATIONS
from interlock.system import everybody_else


async def build_messages() -> None:
    """Build what is not built yet, innermost messages first, with a turn of the loop between two."""
    seen: set[type[Message]] = set()
    for operation in OPERATIONS:
        for message in (operation.request, operation.response):
            if isinstance(message, type) and issubclass(message, Message):
                for model in _innermost_first(message, seen):
                    model.model_rebuild()
                    await everybody_else()


def _innermost_first(model: type[Message], seen: set[type[Message]]) -> Iterator[type[Message]]:
    if model in seen:
        return
    seen.add(model)
    for field in shape_of(model).fields.values():
        if field.message is not None:
            yield from _innermost_first(field.message.model, seen)
    yield model
