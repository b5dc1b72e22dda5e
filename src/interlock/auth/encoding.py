"""Base64url and base62, in one spelling each: text that decodes is the text that encoding would have made."""

from __future__ import annotations

import base64
import re
from typing import Final

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def to_base64url(value: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Decode base64url strictly.

    Padding, the standard alphabet, white space and left-over bits are refused: with several spellings of one value, a
    replay check that remembers spellings would accept the value twice.

    Raises:
        ValueError: `text` is not the one spelling of anything.
    """
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(value) != text:
        raise ValueError("not the usual base64url spelling")
    return value


def to_base62(number: int, width: int) -> str:
    """`number` in the digits 0-9A-Za-z, filled up with zeros to `width`."""
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits)).rjust(width, "0")
