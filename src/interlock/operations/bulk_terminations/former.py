"""Paths of the previous release. They are served for one release, and are not documented."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from interlock.contract.base import to_json
from interlock.operations.bulk_terminations.views import BulkTerminationResponse
from interlock.operations.operation import Answer, Call, Handler, Operation
from interlock.operations.services import Services

_PATH: Final = "/interlock/v1/bulkTerminations"
_FORMER_PATH: Final = "/interlock/v1/terminations"


def former_paths(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Return the operations whose paths have changed, each with its former path and its former answer."""
    return tuple(
        replace(row, path=row.path.replace(_PATH, _FORMER_PATH, 1), handler=_with_former_name(row.handler))
        for row in operations
        if row.path.startswith(_PATH)
    )


def _with_former_name(handler: Handler) -> Handler:
    async def handle(services: Services, call: Call, body: Any) -> Answer:
        answer = await handler(services, call, body)
        if not isinstance(answer.message, BulkTerminationResponse):
            return answer
        tree = json.loads(to_json(answer.message))
        return replace(answer, message={"terminations": tree.pop("bulkTermination"), **tree})

    return handle
