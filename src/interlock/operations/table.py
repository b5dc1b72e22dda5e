"""The operation table: everything that can be asked, one row each.

Adding an operation takes a handler and a row. Routing, lanes, permissions, the OpenAPI document and the documentation
follow from it.
"""

from __future__ import annotations

from typing import Final

from interlock.operations.former import former_paths
from interlock.operations.operation import Operation
from interlock.operations.table_c1 import C1
from interlock.operations.table_own import OURS

OPERATIONS: Final[tuple[Operation, ...]] = (*C1, *OURS)
FORMER: Final = former_paths(OPERATIONS)
"""What is served besides, under paths of the release before."""
