"""Every name an expression may use: variables, enums in all their spellings, functions; and where each may be used.

This is a table and nothing else. What is declared here but cannot be evaluated yet is refused when an automation is
published, not when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class Place(StrEnum):
    """Where an expression stands, which decides what it may name."""

    STEP = "a step"
    """Fields of steps: `skipIfTrueCel`, fields ending in `Cel`, function arguments, `{{ }}`."""
    CONDITION = "a trigger condition"
    """No functions of `c1.*`, and no steps."""
    EXECUTION = "a filter of executions"
    """Asked of a run from outside: what it is, and its `ctx`. No functions of `c1.*`."""
    POLICY = "a policy"
    """Not part of automations: it declares everything, so that a name can be refused for where it stands."""


class Kind(Enum):
    """What a field needs from its expression: the name used in findings."""

    ANY = "any"
    BOOL = "bool"
    INT = "int"
    STRING = "string"
    STRING_LIST = "list(string)"
    LIST = "list"
    MAP = "map"


class Needs(Enum):
    """What a function reads besides its arguments."""

    NOTHING = "nothing"
    CLOCK = "clock"
    DIRECTORY = "directory"


STEPS: Final = frozenset({Place.STEP, Place.POLICY})
POLICY_ONLY: Final = frozenset({Place.POLICY})
EXECUTIONS: Final = frozenset({Place.EXECUTION, Place.POLICY})
EVERYWHERE: Final = frozenset(Place)
WITHIN_RUNS: Final = EVERYWHERE - {Place.EXECUTION}


@dataclass(frozen=True, slots=True)
class Overload:
    """One form of a function. Types: `string`, `int`, `bool`, `timestamp`, `dyn`, `map`, `list`, `strings`."""

    key: str
    result: str
    parameters: tuple[str, ...]
    member: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function we add to CEL's own."""

    name: str
    overloads: tuple[Overload, ...]
    places: frozenset[Place] = EVERYWHERE
    needs: Needs = Needs.NOTHING


VARIABLES: Final[dict[str, tuple[str, frozenset[Place]]]] = {
    "ctx": ("map", EVERYWHERE),
    "subject": ("map", WITHIN_RUNS),
    "ip": ("map", WITHIN_RUNS),
    "trigger": ("map", STEPS | {Place.CONDITION}),
    "steps": ("map", STEPS),
    "account": ("map", POLICY_ONLY),
    "task": ("map", POLICY_ONLY),
    # Each member is a variable with a dot in its name: so its type is checked, and what is read is known.
    "execution.id": ("int", EXECUTIONS),
    "execution.automationTemplateId": ("string", EXECUTIONS),
    "execution.automationDisplayName": ("string", EXECUTIONS),
    "execution.currentVersion": ("int", EXECUTIONS),
    "execution.isDraft": ("bool", EXECUTIONS),
    "execution.state": ("string", EXECUTIONS),
    "execution.waitingFor": ("string", EXECUTIONS),
    "execution.step": ("int", EXECUTIONS),
    "execution.stepName": ("string", EXECUTIONS),
    "execution.createdAt": ("timestamp", EXECUTIONS),
    "execution.updatedAt": ("timestamp", EXECUTIONS),
    # JSON has no times, so the members of a task that are times are variables with dots in their names.
    "task.created_at": ("timestamp", POLICY_ONLY),
    "task.grantDuration": ("duration", POLICY_ONLY),
    "entitlement": ("map", POLICY_ONLY),
    "appOwners": ("list", POLICY_ONLY),
}


def _enum(name: str, prefix: str, values: str, *, bare: bool = True, value_prefix: str = "") -> dict[str, str]:
    """All spellings of an enum: `Name.VALUE`, `Name.PREFIX_VALUE` and the bare `PREFIX_VALUE`."""
    spelled: dict[str, str] = {}
    for value in values.split():
        spelled[f"{name}.{value}"] = spelled[f"{name}.{prefix}{value}"] = value_prefix + value
        if bare:
            spelled[f"{prefix}{value}"] = value_prefix + value
    return spelled


CONSTANTS: Final[dict[str, str]] = {
    **_enum("UserStatus", "USER_STATUS_", "ENABLED DISABLED DELETED UNKNOWN"),
    **_enum("UserType", "USER_TYPE_", "HUMAN AGENT SERVICE SYSTEM"),
    **_enum("AppUserType", "APP_USER_TYPE_", "USER SERVICE_ACCOUNT SYSTEM_ACCOUNT"),
    # The status of an account keeps its prefix as a value: C1 documents `account.status.status` compared with it bare.
    **_enum("AppUserStatus", "APP_USER_STATUS_", "ENABLED DISABLED DELETED", value_prefix="APP_USER_STATUS_"),
    **_enum("Status", "APP_USER_STATUS_", "ENABLED DISABLED DELETED", value_prefix="APP_USER_STATUS_"),
    **{f"TimeFormat.{name}": name.lower() for name in ("RFC3339", "DATE", "DATETIME", "TIME")},
}

POLICY_CONSTANTS: Final[dict[str, str]] = _enum(
    "TaskOrigin", "TASK_ORIGIN_", "WEBAPP SLACK API JIRA COPILOT", bare=False
)


def _function(
    name: str, *overloads: tuple[str, str, str], places: frozenset[Place] = EVERYWHERE, needs: Needs = Needs.NOTHING
) -> Function:
    """Overloads as (key, parameters, result); a parameter list that begins with a dot is a method's."""
    made = tuple(
        Overload(key, result, tuple(parameters.removeprefix(".").split()), parameters.startswith("."))
        for key, parameters, result in overloads
    )
    return Function(name, made, places, needs)


def _directory(name: str, *overloads: tuple[str, str, str], places: frozenset[Place] = STEPS) -> Function:
    return _function(name, *overloads, places=places, needs=Needs.DIRECTORY)


_USERS: Final = "c1.directory.users.v1."
_APPS: Final = "c1.directory.apps.v1."
_USER: Final = "c1.user.v1."
_ACCOUNT: Final = "c1.app_user.v1."

FUNCTIONS: Final[tuple[Function, ...]] = (
    _function("now", ("now", "", "timestamp"), needs=Needs.CLOCK),
    _function(
        "time.parse",
        ("time_parse", "string string", "timestamp"),
        ("time_parse_zone", "string string string", "timestamp"),
    ),
    _function("time.try_parse", ("time_try_parse", "string string timestamp", "timestamp")),
    _function(
        "time.format",
        ("time_format", "timestamp string", "string"),
        ("time_format_zone", "timestamp string string", "string"),
    ),
    _function("time.unix", ("time_unix", "int", "timestamp")),
    _function("time.unix_ms", ("time_unix_ms", "int", "timestamp")),
    _function(
        "time.start_of",
        ("time_start_of", "timestamp string", "timestamp"),
        ("time_start_of_zone", "timestamp string string", "timestamp"),
    ),
    _function("time.truncate", ("time_truncate", "timestamp string", "timestamp")),
    _function("time.end_of", ("time_end_of", "timestamp string", "timestamp")),
    _function("ifEmpty", ("string_if_empty", ".string string", "string")),
    _function("ip", ("ip", "string", "map")),
    _function(
        "cidr",
        ("cidr_list", "strings", "map"),
        *((f"cidr_{count}", " ".join(["string"] * count), "map") for count in range(1, 11)),
    ),
    _function("contains", ("cidr_contains", ".map map", "bool")),
    _function("within", ("ip_within", ".map map", "bool")),
    _directory(_USERS + "FindByEmail", ("find_user_by_email", "string", "map")),
    _directory(_USERS + "FindByName", ("find_user_by_name", "string", "dyn")),
    _directory(_USERS + "GetByID", ("get_user", "string", "map")),
    _directory(_USERS + "GetManagers", ("managers", "map", "list")),
    _directory(_USERS + "DirectReports", ("direct_reports", "map", "list"), ("direct_reports_all", "list", "list")),
    _directory("c1.directory.groups.v1.FindByName", ("find_group_by_name", "string", "dyn")),
    _directory(_APPS + "GetEntitlementMembers", ("entitlement_members", "string string", "list")),
    _directory(_USER + "HasApp", ("has_app", "map string", "bool")),
    _directory(_USER + "HasEntitlement", ("has_entitlement", "map string string", "bool")),
    _directory(_USER + "GetAppUserStatus", ("app_user_status", "map string", "string")),
    _directory(_USER + "ListAppUsersForUser", ("app_users", "map string", "list")),
    _directory(_USER + "GetAppUsersForUser", ("app_users_alias", "map string", "list")),
    _directory(_USER + "GetAppUserManagers", ("app_user_managers", "map string", "list")),
    _directory(
        _APPS + "GetEntitlementOwners",
        ("entitlement_owners", "string string", "list"),
        ("entitlement_owners_of", "map", "list"),
        places=POLICY_ONLY,
    ),
    _directory(_USER + "GrantedFromEnrollment", ("enrolled", "map string string", "bool"), places=POLICY_ONLY),
    _directory(
        _USER + "AutomaticallyGrantedFromEnrollment", ("auto_enrolled", "map string string", "bool"), places=POLICY_ONLY
    ),
    _directory(_ACCOUNT + "HasSecurityInsight", ("has_insight", "map", "bool"), places=POLICY_ONLY),
    _directory(_ACCOUNT + "GetSecurityInsights", ("insights", "map string", "list"), places=POLICY_ONLY),
    _directory(
        _ACCOUNT + "HasSecurityInsightWithSeverity",
        ("insight_severity", "map string string", "bool"),
        places=POLICY_ONLY,
    ),
    _directory(_ACCOUNT + "HasRiskScore", ("has_risk_score", "map", "bool"), places=POLICY_ONLY),
    _directory(_ACCOUNT + "GetRiskScore", ("risk_score", "map string", "map"), places=POLICY_ONLY),
)

DIRECTORY_FUNCTIONS: Final = frozenset(f.name for f in FUNCTIONS if f.needs is Needs.DIRECTORY)
FRAMED_FUNCTIONS: Final = frozenset(f.name for f in FUNCTIONS if f.needs is not Needs.NOTHING)
