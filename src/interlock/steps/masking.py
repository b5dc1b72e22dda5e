"""Secrets are masked by where a value comes from, never by what it looks like.

A result of evaluateExpressions with `isSecret` is a secret member of its step, and so is every result of an expression
that reads one. A document with such a result is split before it leaves the step: into a copy in which all that those
expressions made is masked, which is stored and shown, and a reference to the document itself, which is sealed, and
opened only to be sent or to be read by expressions. The answer to a call that carried a secret may repeat it: the
members of `ANSWER_MEMBERS` are masked and sealed, too, and those of `ERROR_MEMBERS` are masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interlock.expressions.program import Program
from interlock.expressions.template import Template
from interlock.ports import Place, Vault
from interlock.rules.model import SecretRef
from interlock.rules.values import value
from interlock.steps.documents import decode, encode

MASK: Final = "[secret]"
ANSWER_MEMBERS: Final = frozenset({"response", "response_problem", "content_encoding"})
"""Members of what a step returns that may repeat what was sent."""
ERROR_MEMBERS: Final = frozenset({"body", "webhookId", "content_encoding"})
"""Members of the error of a step that may repeat what was sent, or say what a secret named."""

Secrets = frozenset[tuple[str, str]]
"""The secret members that a run may read: of which step (or `trigger`), and which member."""

NO_SECRETS: Final[Secrets] = frozenset()

_MARKER: Final = "interlock-secret-5d0f6c1e9b"
"""Stands for a secret value while a template is filled without any data, to find out where secrets end up."""


def reads_secret(program: Program, secrets: Secrets) -> bool:
    """Return whether the expression reads a secret member, or a document with one, so that its result is a secret."""
    if not secrets:
        return False
    for step, member in program.members_read:
        if step is None or (step, member) in secrets:
            return True
        if member is None and any(step == of for of, _ in secrets):
            return True
    return False


@value(frozen=True, slots=True)
class MaskedCopy:
    """What may be shown of a filled template, and the members of it that hold secrets."""

    shown: object
    secret: frozenset[str]


def masked_copy(template: Template, value: object, secrets: Secrets) -> MaskedCopy | None:
    """The filled template with all that secret expressions made masked; None if there is nothing to mask."""
    if not secrets:
        return None
    secret = [reads_secret(program, secrets) for program in template.programs]
    if not any(secret):
        return None
    marked = template.fill([_MARKER if each else "" for each in secret])
    members = marked.items() if isinstance(marked, Mapping) else ()
    return MaskedCopy(_masked(marked, value), frozenset(name for name, inner in members if _is_marked(inner)))


def _masked(marked: object, value: Any) -> object:
    if isinstance(marked, str):
        return MASK if _MARKER in marked else value
    if isinstance(marked, Mapping):
        return {name: _masked(inner, value[name]) for name, inner in marked.items()}
    if isinstance(marked, (list, tuple)):
        return [_masked(inner, item) for inner, item in zip(marked, value, strict=True)]
    return value


def _is_marked(marked: object) -> bool:
    pending = [marked]
    while pending:
        item = pending.pop()
        if isinstance(item, str) and _MARKER in item:
            return True
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return False


def masked_members(document: Mapping[str, object], members: frozenset[str]) -> dict[str, object]:
    """The document with these members masked."""
    return {name: MASK if name in members else value for name, value in document.items()}


def masked_error(error: bytes) -> bytes:
    """The error of an attempt that was announced with a secret, as it is stored and shown."""
    document = decode(error)
    return encode(masked_members(document, ERROR_MEMBERS)) if isinstance(document, Mapping) else error


def sealed_answer(
    vault: Vault, place: Place, output: Mapping[str, object], text: bytes
) -> tuple[bytes, SecretRef | None]:
    """What is stored of the answer to a call that was announced with a secret: the masked copy, and the reference.

    Args:
        output: what the step returns.
        text: the same as JSON.
    """
    return sealed_members(vault, place, output, text, ANSWER_MEMBERS.intersection(output))


def sealed_members(
    vault: Vault, place: Place, output: Mapping[str, object], text: bytes, secret: frozenset[str]
) -> tuple[bytes, SecretRef | None]:
    """What is stored of an output of which these members are secret: the masked copy, and the reference.

    Args:
        output: what the step returns.
        text: the same as JSON.
        secret: members of the output; without any, the text is stored as it is.
    """
    if not secret:
        return text, None
    return encode(masked_members(output, secret)), vault.seal(place, text, secret)
