"""Durations of the command line."""

import re

from interlock.cli.failures import Exit, Failure

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "m": 60, "h": 3_600, "d": 86_400}


def duration(text: str | None, option: str) -> str | None:
    """Return a duration in the wire format; a number without a unit means seconds.

    Raises:
        Failure: The text is not a duration.
    """
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise Failure(f"{option}: not a duration: {text!r}; write 10s, 500ms, 2m, 3h or 4d", Exit.USAGE)
    number, unit = match.groups()
    if unit in (None, "s"):
        return f"{number}s"
    return f"{float(number) * _UNITS[unit]:.9f}".rstrip("0").rstrip(".") + "s"
