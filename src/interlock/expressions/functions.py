"""What our functions do, by the key of their overload in `names`.

Functions are bound once, when an environment is built; what differs from one evaluation to the next (the time, the
directory) they take from the frame of the evaluation, a context variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Final, Protocol

from interlock.errors import InterlockError
from interlock.expressions import networks, times
from interlock.expressions.failures import FunctionFailed

Entity = Mapping[str, object]
"""A user, account or group as plain JSON, with the fields C1 documents."""


class DirectoryFunctions(Protocol):
    """Functions of expressions that read the directory of one tenant, from stored data.

    `user` is an expression's value of a user, identified by its `id`. The result is None or an empty list if no user is
    found.
    """

    def find_user_by_email(self, email: str) -> Entity | None: ...
    def find_user_by_name(self, name: str) -> Entity | None: ...
    def get_user(self, user_id: str) -> Entity | None: ...
    def managers(self, user: Entity) -> Sequence[Entity]: ...
    def direct_reports(self, users: Sequence[Entity]) -> Sequence[Entity]: ...
    def find_group_by_name(self, name: str) -> Entity | None: ...
    def entitlement_members(self, app_id: str, entitlement: str) -> Sequence[Entity]: ...
    def has_app(self, user: Entity, app_id: str) -> bool: ...
    def has_entitlement(self, user: Entity, app_id: str, entitlement: str) -> bool: ...
    def app_user_status(self, user: Entity, app_id: str) -> str: ...
    def app_users(self, user: Entity, app_id: str) -> Sequence[Entity]: ...
    def app_user_managers(self, user: Entity, app_id: str) -> Sequence[Entity]: ...


Ask = Callable[[str, tuple[object, ...]], object]
"""Asks the directory by the name of a method of `DirectoryFunctions`."""


class Frame:
    """One evaluation: the time that now() gives, and the directory with what it has answered so far."""

    __slots__ = ("_answers", "_ask", "failure", "now")

    def __init__(self, now: datetime, ask: Ask | None) -> None:
        self.now = now
        self.failure: InterlockError | None = None
        self._ask = ask
        self._answers: dict[str, object] = {}

    def ask(self, method: str, *arguments: object) -> object:
        """The directory's answer; the same question is asked once. Raises FunctionFailed.

        A failure of the directory itself is kept in `failure`, for it says nothing about the expression.
        """
        if self._ask is None:
            raise FunctionFailed("the directory cannot be asked here")
        question = repr((method, arguments))
        if question not in self._answers:
            try:
                self._answers[question] = self._ask(method, arguments)
            except InterlockError as failure:
                self.failure = failure
                raise FunctionFailed("the directory could not be read") from failure
        return self._answers[question]


FRAME: Final[ContextVar[Frame]] = ContextVar("interlock_expression_frame")

ASKABLE: Final = frozenset(name for name in vars(DirectoryFunctions) if not name.startswith("_"))


def asking(directory: DirectoryFunctions | None) -> Ask | None:
    """The directory as a frame asks it."""
    if directory is None:
        return None

    def ask(method: str, arguments: tuple[object, ...]) -> object:
        if method not in ASKABLE:
            raise FunctionFailed("the directory does not know this question")
        return getattr(directory, method)(*arguments)

    return ask


def _now() -> datetime:
    return FRAME.get().now


def _try_parse(value: str, layout: str, default: datetime) -> datetime:
    try:
        return times.parse_time(value, layout)
    except FunctionFailed:
        return default


def _asked(method: str) -> Callable[..., object]:
    def answer(*arguments: object) -> object:
        return FRAME.get().ask(method, *arguments)

    return answer


def _found(method: str, what: str) -> Callable[..., object]:
    """Return an expression function that asks the directory, and fails if the directory has no `what`."""

    def answer(*arguments: object) -> object:
        found = FRAME.get().ask(method, *arguments)
        if found is None:
            raise FunctionFailed(f"the directory has no {what}")
        return found

    return answer


def _policy_only(*_: object) -> object:
    raise FunctionFailed("this function exists only in policies")


IMPLEMENTATIONS: Final[Mapping[str, Callable[..., object]]] = {
    "now": _now,
    "time_parse": times.parse_time,
    "time_parse_zone": times.parse_time,
    "time_try_parse": _try_parse,
    "time_format": times.format_time,
    "time_format_zone": times.format_time,
    "time_unix": lambda seconds: times.from_unix(seconds, 1),
    "time_unix_ms": lambda milliseconds: times.from_unix(milliseconds, 1000),
    "time_start_of": times.start_of,
    "time_start_of_zone": times.start_of,
    "time_truncate": times.start_of,
    "time_end_of": times.end_of,
    "string_if_empty": lambda value, default: value or default,
    "ip": networks.ip,
    "cidr_list": networks.cidr_list,
    **{f"cidr_{count}": networks.cidr for count in range(1, 11)},
    "cidr_contains": networks.contains,
    "ip_within": networks.within,
    "find_user_by_email": _found("find_user_by_email", "user with this e-mail address"),
    "find_user_by_name": _asked("find_user_by_name"),
    "get_user": _found("get_user", "user with this id"),
    "managers": _asked("managers"),
    "direct_reports": lambda user: FRAME.get().ask("direct_reports", [user]),
    "direct_reports_all": _asked("direct_reports"),
    "find_group_by_name": _asked("find_group_by_name"),
    "entitlement_members": _asked("entitlement_members"),
    "has_app": _asked("has_app"),
    "has_entitlement": _asked("has_entitlement"),
    "app_user_status": _asked("app_user_status"),
    "app_users": _asked("app_users"),
    "app_users_alias": _asked("app_users"),
    "app_user_managers": _asked("app_user_managers"),
    **dict.fromkeys(
        (
            "entitlement_owners",
            "entitlement_owners_of",
            "enrolled",
            "auto_enrolled",
            "has_insight",
            "insights",
            "insight_severity",
            "has_risk_score",
            "risk_score",
        ),
        _policy_only,
    ),
}
