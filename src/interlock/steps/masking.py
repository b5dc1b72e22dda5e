"""Secret results: later expressions may read them, and they appear nowhere else.

An `evaluateExpressions` result with `isSecret` is stored as `{"interlock.secret": value}`, so that whoever shows an
output can mask it without knowing the plan (`shown_output`), while the run's own context has it in clear (`opened`).
What a later step stores or sends is masked by value: every text that holds a secret one has it replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from interlock.steps.documents import decode, encode

MASK: Final = "[secret]"
_MARK: Final = "interlock.secret"
_MARK_BYTES: Final = b'{"interlock.secret":'
_SHORTEST_PART: Final = 4
"""A secret shorter than this is masked where it is the whole text, not inside other texts."""


def sealed(value: object) -> dict[str, object]:
    """A secret result as it is stored."""
    return {_MARK: value}


def holds_secret(output: bytes) -> bool:
    return _MARK_BYTES in output


def opened(output: object) -> tuple[object, frozenset[str]]:
    """A stored output with its secrets in the clear, and the texts that must not be shown."""
    if not isinstance(output, dict):
        return output, frozenset()
    texts: set[str] = set()
    plain: dict[str, object] = {}
    for key, value in output.items():
        if _is_sealed(value):
            plain[key] = value[_MARK]
            _collect(value[_MARK], texts)
        else:
            plain[key] = value
    return plain, frozenset(texts)


def shown_output(output: bytes) -> bytes:
    """A stored output as it may be shown: in views, logs and exports."""
    if _MARK_BYTES not in output:
        return output
    document = decode(output)
    if not isinstance(document, dict):
        return output
    return encode({key: MASK if _is_sealed(value) else value for key, value in document.items()})


def masked(value: object, secrets: frozenset[str]) -> object:
    """The value with every secret text in it replaced; the same object if there are no secrets."""
    if not secrets:
        return value
    if isinstance(value, str):
        return _masked_text(value, secrets)
    if isinstance(value, Mapping):
        return {key: masked(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, secrets) for item in value]
    return value


def _masked_text(text: str, secrets: frozenset[str]) -> str:
    if text in secrets:
        return MASK
    # The longest first: one secret may be the beginning of another.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_PART and secret in text:
            text = text.replace(secret, MASK)
    return text


def _is_sealed(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1 and _MARK in value


def _collect(value: object, texts: set[str]) -> None:
    if isinstance(value, str):
        if value:
            texts.add(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            _collect(item, texts)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, texts)
