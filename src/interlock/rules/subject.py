"""The subject of a run: the person that its data name.

Only this module determines it, for runs that a client starts, for children and for runs of a trigger. The store keeps
it in the row of the run, so that runs can be found and stopped by their subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SUBJECT_MEMBERS: Final = ("user_id", "userId")
"""Members of the trigger data that name the subject, in the order of their precedence."""

UNUSABLE_SUBJECT: Final = (
    "names the subject of the run, by which it is found and stopped; it must be text without U+0000, or an integer"
)
"""Why a trigger document is refused; the name of the member comes before it."""


SubjectNames = tuple[str | None, ...]
"""The subject under each of `SUBJECT_MEMBERS`: None if the member is missing, "" if its value names no subject."""

NO_NAMES: Final[SubjectNames] = (None,) * len(SUBJECT_MEMBERS)


def subject_names(data: object) -> SubjectNames:
    """Return the subject as trigger data, or the context of an automation, name it."""
    return (
        tuple(_name(data[name]) if name in data else None for name in SUBJECT_MEMBERS)
        if isinstance(data, Mapping)
        else NO_NAMES
    )


def subject_of(own: SubjectNames, defaults: SubjectNames) -> str | None:
    """Return the subject of a run; each member of its own data takes precedence over the automation's context."""
    for given, by_default in zip(own, defaults, strict=True):
        name = by_default if given is None else given
        if name:
            return name
    return None


def _name(value: object) -> str:
    """Return the subject that a value names: the text, or the decimal digits of an integer; else ""."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def unusable_subject(trigger: Mapping[str, object]) -> str | None:
    """Return the member whose value cannot be searched for as a subject; None if there is no such member.

    Filters and expressions cannot contain a NUL character.
    """
    return next((name for name in SUBJECT_MEMBERS if not _is_usable(trigger.get(name))), None)


def _is_usable(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
