"""Secrets are masked by where a value comes from, never by what it looks like.

A result of evaluateExpressions with `isSecret` is a secret member of its step, and so is every result of an expression
that reads one. What is sent or handed to a child is the value; beside it goes a copy in which all that was made by such
expressions is masked, and every view shows that copy. The answer to a call that carried a secret may repeat it: its
`response` is a secret member, too, and so is the `content_encoding` that the receiver names (the statements `steps_of`
and `outputs_of` mask them where they are read).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interlock.expressions.program import Program
from interlock.expressions.template import Template

MASK: Final = "[secret]"
ANSWER_MEMBERS: Final = frozenset({"response", "response_problem", "content_encoding"})
"""Members of what a step returns that may repeat what was sent."""

Secrets = frozenset[tuple[str, str]]
"""The secret members that a run may read: of which step (or `trigger`), and which member."""

NO_SECRETS: Final[Secrets] = frozenset()

_MARKER: Final = "interlock-secret-5d0f6c1e9b"
"""Stands for a secret value while a template is filled without any data, to find out where secrets end up."""


def reads_secret(program: Program, secrets: Secrets) -> bool:
    """Whether the result of the expression has to be masked."""
    if not secrets:
        return False
    for step, member in program.members_read:
        if step is None or (step, member) in secrets:
            return True
        if member is None and any(step == of for of, _ in secrets):
            return True
    return False


def masked_copy(template: Template, value: object, secrets: Secrets) -> object | None:
    """The filled template with all that secret expressions made masked; None if there is nothing to mask."""
    if not secrets:
        return None
    secret = [reads_secret(program, secrets) for program in template.programs]
    if not any(secret):
        return None
    marked = template.fill([_MARKER if each else "" for each in secret])
    return _masked(marked, value)


def _masked(marked: object, value: Any) -> object:
    if isinstance(marked, str):
        return MASK if _MARKER in marked else value
    if isinstance(marked, Mapping):
        return {name: _masked(inner, value[name]) for name, inner in marked.items()}
    if isinstance(marked, (list, tuple)):
        return [_masked(inner, item) for inner, item in zip(marked, value, strict=True)]
    return value


def masked_members(document: Mapping[str, object], members: frozenset[str]) -> dict[str, object]:
    """The document with these members masked."""
    return {name: MASK if name in members else value for name, value in document.items()}


def secret_members(shown: object) -> frozenset[str]:
    """The members of a masked copy of which something is masked."""
    if not isinstance(shown, Mapping):
        return frozenset()
    return frozenset(name for name, value in shown.items() if _holds_mask(value))


def _holds_mask(value: object) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if item == MASK:
            return True
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return False
