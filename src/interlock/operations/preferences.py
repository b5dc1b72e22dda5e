"""The Prefer header (RFC 7240), parsed in one pass over a bounded text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from interlock.rules.values import value

MAX_PREFER_CHARACTERS: Final = 1_024
"""Maximum length of a Prefer header; a longer header is ignored as a whole, like an unknown preference."""
MAX_WAIT_SECONDS: Final = 30
"""Maximum time for which an answer is delayed, in seconds."""

_BLANK: Final = " \t"


@value(frozen=True, slots=True)
class Preferences:
    """The preferences of a request that the server knows; it ignores all others, as RFC 7240 requires."""

    representation: bool = False
    wait: int | None = None
    """Seconds, 0 to `MAX_WAIT_SECONDS`."""

    @property
    def applied(self) -> str:
        parts = ["return=representation"] if self.representation else []
        if self.wait is not None:
            parts.append(f"wait={self.wait}")
        return ", ".join(parts)


def read_preferences(header: str) -> Preferences:
    """Parse a Prefer header; of two preferences with one name the first counts (RFC 7240, section 2).

    A terminate may have this header, so no value of it is an error: malformed preferences are ignored.
    """
    if len(header) > MAX_PREFER_CHARACTERS:
        return Preferences()
    named: dict[str, str] = {}
    for preference in _parts(header, ","):
        # Parameters of a preference follow a semicolon; none of them is known here.
        name, _, value = next(_parts(preference, ";")).partition("=")
        named.setdefault(name.strip(_BLANK).lower(), _unquoted(value.strip(_BLANK)))
    wait = named.get("wait", "")
    return Preferences(
        named.get("return", "").lower() == "representation",
        min(int(wait), MAX_WAIT_SECONDS) if len(wait) <= 9 and wait.isascii() and wait.isdigit() else None,
    )


def _parts(text: str, separator: str) -> Iterator[str]:
    """Yield the parts of a text between separators that are not quoted."""
    begin, is_quoted, is_escaped = 0, False, False
    for place, character in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif character == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            is_escaped = character == "\\"
        elif character == separator:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]


def _unquoted(value: str) -> str:
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    return value[1:-1].replace("\\", "").strip(_BLANK)
