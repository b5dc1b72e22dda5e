"""Parts of rows that several resources use: prefixes of operationIds, parameters, a tag."""

from __future__ import annotations

from typing import Final

from interlock.operations.operation import PathParameter

AUTOMATION_SERVICE: Final = "c1.api.automations.v1.AutomationService."
EXECUTION_ACTIONS_SERVICE: Final = "c1.api.automations.v1.AutomationExecutionActionsService."
OWN: Final = "interlock.v1."
"""What the ids of our own operations begin with."""
INTERLOCK_TAG: Final = "Interlock"

PAGE: Final = ("page_size", "page_token")
"""The query of an operation that answers page by page."""
AUTOMATION_ID: Final = (PathParameter("id", "The automation."),)
EXECUTION_ID: Final = (PathParameter("id", "The execution: a whole number, as text.", int64=True),)
