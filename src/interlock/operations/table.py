"""The operation table: the rows of all resources.

Adding an operation takes a handler and a row. Routing, lanes, permissions, the OpenAPI document and the documentation
are derived from the row. C1's operations come before our own.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from interlock.operations.access import rows as access
from interlock.operations.audit import rows as audit
from interlock.operations.automations import rows as automations
from interlock.operations.bulk_terminations import rows as bulk_terminations
from interlock.operations.bulk_terminations.former import former_paths
from interlock.operations.executions import rows as executions
from interlock.operations.operation import Operation, Visibility
from interlock.operations.settings import rows as settings
from interlock.operations.terminations import rows as terminations
from interlock.operations.webhooks import rows as webhooks

RESOURCES: Final = (automations, executions, terminations, webhooks, bulk_terminations, audit, settings, access)
"""The modules of rows; each has a constant `OPERATIONS`."""

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    sorted(
        chain.from_iterable(resource.OPERATIONS for resource in RESOURCES),
        key=lambda operation: operation.visibility is Visibility.OWN,
    )
)
FORMER: Final = former_paths(OPERATIONS)
"""Operations that are also served under the paths of the previous release."""
