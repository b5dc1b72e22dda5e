"""Parts of rows that several resources use: prefixes of operationIds, parameters, a tag."""

from __future__ import annotations

from typing import Final

from interlock.operations.operation import PathParameter

AUTOMATION_SERVICE: Final = "c1.api.automations.v1.AutomationService."
EXECUTION_ACTIONS_SERVICE: Final = "c1.api.automations.v1.AutomationExecutionActionsService."
OWN: Final = "interlock.v1."
"""Prefix of the ids of our own operations."""
INTERLOCK_TAG: Final = "Interlock"

PAGE: Final = ("page_size", "page_token")
"""Query parameters of an operation whose answer is a page."""
AUTOMATION_ID: Final = (PathParameter("id", "The automation."),)
EXECUTION_ID: Final = (PathParameter("id", "The execution: a whole number, as text.", int64=True),)
