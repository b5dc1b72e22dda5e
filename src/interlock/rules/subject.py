"""The subject of a run: the person whom its data name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final = ("user_id", "userId")
"""Members of the trigger data that name the subject; the first that does counts."""

REFUSAL: Final = (
    "names the subject of the run, by which it is found and stopped; it must be text without U+0000, or an integer"
)


def unusable_subject(trigger: Mapping[str, object]) -> str | None:
    """The member that should name the subject and cannot be asked for; None if there is no such member.

    No filter and no expression can carry a NUL character.
    """
    return next((name for name in NAMES if not _names_one(trigger.get(name))), None)


def _names_one(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
