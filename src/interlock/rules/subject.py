"""The subject of a run: the person whom its data name.

This module alone works it out, for runs that are started, for children and for those of a trigger. The store keeps the
result beside the run, so that runs are found and stopped by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final = ("user_id", "userId")
"""Members of the trigger data that name the subject; the first that does counts."""

REFUSAL: Final = (
    "names the subject of the run, by which it is found and stopped; it must be text without U+0000, or an integer"
)


SubjectNames = tuple[str | None, ...]
"""What data say under each of `NAMES`: None if the member is missing, "" if it is there and names no subject."""

NO_NAMES: Final[SubjectNames] = (None,) * len(NAMES)


def subject_names(data: object) -> SubjectNames:
    """What trigger data, or the context of an automation, say of the subject."""
    return (
        tuple(_name(data[name]) if name in data else None for name in NAMES) if isinstance(data, Mapping) else NO_NAMES
    )


def subject_of(own: SubjectNames, defaults: SubjectNames) -> str | None:
    """The subject of a run: its own data lie over the context of its automation, member by member."""
    for said, by_default in zip(own, defaults, strict=True):
        name = by_default if said is None else said
        if name:
            return name
    return None


def _name(value: object) -> str:
    """A text names the subject, and so does an integer, by its decimal digits."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def unusable_subject(trigger: Mapping[str, object]) -> str | None:
    """The member that should name the subject and cannot be asked for; None if there is no such member.

    No filter and no expression can carry a NUL character.
    """
    return next((name for name in NAMES if not _names_one(trigger.get(name))), None)


def _names_one(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
