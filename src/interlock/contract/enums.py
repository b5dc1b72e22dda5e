"""The enums of the contract, by their wire names.

Clients treat them as open sets. What a caller *sends* has to be a name known here, because an automation that means
something else than its author meant is worse than a 400.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from interlock.contract.scalars import kind_of, refused
from interlock.rules.values import value


@value(frozen=True, slots=True)
class EnumNames:
    """The names of one enum, its zero value first."""

    name: str
    values: tuple[str, ...]

    @property
    def zero(self) -> str:
        """The name that stands for "not given"."""
        return self.values[0]

    def read(self, value: Any) -> str:
        """The name that was sent. Of the numbers only 0 is published: in proto3 it is always the first value."""
        if type(value) is str and value in self.values:
            return value
        if type(value) is int and value == 0:
            return self.zero
        got = repr(value[:60]) if isinstance(value, str) else kind_of(value)
        raise refused(f"expected one of {', '.join(self.values)}; got {got}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.simple_ser_schema("str")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.values)}


def _enum(name: str, prefix: str, *suffixes: str) -> EnumNames:
    return EnumNames(name, tuple(prefix + suffix for suffix in suffixes))


APP_USER_TYPE: Final = _enum(
    "AppUserType", "APP_USER_TYPE_", "UNSPECIFIED", "USER", "SERVICE_ACCOUNT", "SYSTEM_ACCOUNT"
)
AUTOMATION_EXECUTION_STATE: Final = _enum(
    "AutomationExecutionState",
    "AUTOMATION_EXECUTION_STATE_",
    "UNSPECIFIED",
    "PENDING",
    "CREATING",
    "GET_STEP",
    "PROCESS_STEP",
    "COMPLETE_STEP",
    "DONE",
    "ERROR",
    "TERMINATE",
    "WAITING",
    "PAUSED_BY_CIRCUIT_BREAKER",
)
AUTOMATION_SORT_FIELD: Final = _enum(
    "AutomationSortField",
    "AUTOMATION_SORT_FIELD_",
    "UNSPECIFIED",
    "DISPLAY_NAME",
    "CREATED_AT",
    "LAST_EXECUTED_AT",
    "ENABLED",
    "PRIMARY_TRIGGER_TYPE",
)
AUTOMATION_STATUS_FILTER: Final = _enum(
    "AutomationStatusFilter", "AUTOMATION_STATUS_FILTER_", "UNSPECIFIED", "ON", "OFF"
)
CIRCUIT_BREAKER_PERIOD: Final = _enum(
    "CircuitBreakerPeriod", "CIRCUIT_BREAKER_PERIOD_", "UNSPECIFIED", "HOUR", "DAY", "WEEK", "MONTH"
)
GRANT_FILTER_TYPE: Final = _enum("GrantFilterType", "GRANT_FILTER_TYPE_", "UNSPECIFIED", "PERMANENT", "TEMPORARY")
GRANT_JUSTIFICATION_TYPE: Final = _enum(
    "GrantJustificationType", "GRANT_JUSTIFICATION_TYPE_", "UNSPECIFIED", "ALL", "CONDUCTOR_ONE", "DIRECT"
)
GRANT_SOURCE_FILTER: Final = _enum("GrantSourceFilter", "GRANT_SOURCE_FILTER_", "UNSPECIFIED", "DIRECT", "INHERITED")
PAUSED_EXECUTION_DECISION: Final = _enum(
    "PausedExecutionDecision", "PAUSED_EXECUTION_DECISION_", "UNSPECIFIED", "RUN", "CANCEL"
)
REVOKE_GRANT_SOURCE_FILTER: Final = _enum("RevokeGrantSourceFilter", "GRANT_SOURCE_FILTER_", "UNSPECIFIED", "DIRECT")
SORT_DIRECTION: Final = _enum("SortDirection", "SORT_DIRECTION_", "UNSPECIFIED", "ASC", "DESC")
STORE_CREDENTIAL_AUTH_TYPE: Final = _enum(
    "StoreCredentialAuthType", "STORE_CREDENTIAL_AUTH_TYPE_", "UNSPECIFIED", "SSO_INTERNAL", "VERIFY_EMAIL"
)
STORE_CREDENTIAL_VAULT_TYPE: Final = _enum(
    "StoreCredentialVaultType", "STORE_CREDENTIAL_VAULT_TYPE_", "UNSPECIFIED", "PAPER_VAULT", "APP_VAULT"
)
TASK_TYPE: Final = _enum("TaskType", "TASK_TYPE_", "UNSPECIFIED", "REQUEST", "REVOKE", "REVIEW")
TASK_USER_RELATION: Final = _enum("TaskUserRelation", "TASK_USER_RELATION_", "UNSPECIFIED", "ASSIGNEE", "SUBJECT")
TRIGGER_TYPE: Final = _enum(
    "TriggerType",
    "TRIGGER_TYPE_",
    "UNSPECIFIED",
    "USER_PROFILE_CHANGE",
    "APP_USER_CREATE",
    "APP_USER_UPDATE",
    "UNUSED_ACCESS",
    "USER_CREATED",
    "GRANT_FOUND",
    "GRANT_DELETED",
    "WEBHOOK",
    "SCHEDULE",
    "FORM",
    "SCHEDULE_APP_USER",
    "ACCESS_CONFLICT",
    "SCHEDULE_NO_USER",
)
USER_STATUS: Final = _enum("UserStatus", "", "UNKNOWN", "ENABLED", "DISABLED", "DELETED")

AppUserType = Annotated[str, APP_USER_TYPE]
AutomationExecutionState = Annotated[str, AUTOMATION_EXECUTION_STATE]
AutomationSortField = Annotated[str, AUTOMATION_SORT_FIELD]
AutomationStatusFilter = Annotated[str, AUTOMATION_STATUS_FILTER]
CircuitBreakerPeriod = Annotated[str, CIRCUIT_BREAKER_PERIOD]
GrantFilterType = Annotated[str, GRANT_FILTER_TYPE]
GrantJustificationType = Annotated[str, GRANT_JUSTIFICATION_TYPE]
GrantSourceFilter = Annotated[str, GRANT_SOURCE_FILTER]
PausedExecutionDecision = Annotated[str, PAUSED_EXECUTION_DECISION]
RevokeGrantSourceFilter = Annotated[str, REVOKE_GRANT_SOURCE_FILTER]
SortDirection = Annotated[str, SORT_DIRECTION]
StoreCredentialAuthType = Annotated[str, STORE_CREDENTIAL_AUTH_TYPE]
StoreCredentialVaultType = Annotated[str, STORE_CREDENTIAL_VAULT_TYPE]
TaskType = Annotated[str, TASK_TYPE]
TaskUserRelation = Annotated[str, TASK_USER_RELATION]
TriggerType = Annotated[str, TRIGGER_TYPE]
UserStatus = Annotated[str, USER_STATUS]
