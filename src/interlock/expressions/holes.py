"""Find the expressions of a template: where each `{{ }}` of a text begins and ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from interlock.expressions.limits import MAX_SOURCE

_SOURCE: Final = re.compile(
    r"""
    (?P<skipped>(?:
        (?:[^"'{}/rRbB] | [rRbB](?![rRbB]?["']) | /(?!/))++
      | //[^\n]*+
      | [rR][bB]?\"{3}.*?\"{3} | [bB][rR]\"{3}.*?\"{3} | [rR][bB]?'{3}.*?'{3} | [bB][rR]'{3}.*?'{3}
      | (?<![A-Za-z0-9_])(?:[rR][bB]?|[bB][rR])(?:"[^"\n]*+"|'[^'\n]*+')
      | \"{3}(?:[^"\\]++|\\.|\"(?!\"\"))*+\"{3} | '{3}(?:[^'\\]++|\\.|'(?!''))*+'{3}
      | "(?:[^"\\\n]++|\\.)*+" | '(?:[^'\\\n]++|\\.)*+'
    )++)
  | (?P<open>\{+)
  | (?P<close>\}+)
  | (?P<unclosed>["'])
    """,
    re.VERBOSE | re.DOTALL,
)

MAX_HOLE: Final = MAX_SOURCE + 1024
"""Longest `{{ }}`, with the spaces in it, in characters."""


@dataclass(frozen=True, slots=True)
class Hole:
    """An expression in a text: its source without the spaces around it, and where it starts in the text."""

    source: str
    offset: int


class MalformedError(Exception):
    """A text is not a template."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def scan(text: str, spend: Callable[[int], bool] = lambda _: True) -> Iterator[str | Hole]:
    """The pieces of a text in order. Braces inside CEL's texts, comments and maps do not end an expression.

    `spend` is told how many characters were looked at for each expression; False: nothing more is looked at.
    Raises MalformedError.
    """
    at = 0
    while (start := text.find("{{", at)) >= 0:
        if start > at:
            yield text[at:start]
        end, looked_at = _end(text, start + 2)
        if not spend(looked_at):
            return
        if end < 0:
            far = len(text) - start > MAX_HOLE
            within = f" within {MAX_HOLE:,} characters" if far else ""
            raise MalformedError(f"'{{{{' has no '}}}}' after it{within}", start)
        inside = text[start + 2 : end]
        source = inside.strip()
        if not source:
            raise MalformedError("'{{ }}' is empty", start)
        yield Hole(source, start + 2 + len(inside) - len(inside.lstrip()))
        at = end + 2
    if at < len(text):
        yield text[at:]


def _end(text: str, at: int) -> tuple[int, int]:
    """Where the `}}` begins that ends the expression beginning at `at`, or -1; and how much was looked at for it."""
    depth = 0
    furthest = min(at + MAX_HOLE, len(text))
    for match in _SOURCE.finditer(text, at, furthest):
        if match.lastgroup == "open":
            depth += match.end() - match.start()
        elif match.lastgroup == "unclosed":
            # No expression begins so, and looking for further texts in it could take for ever.
            return text.find("}}", match.start(), furthest), furthest - at
        elif match.lastgroup == "close":
            closed = match.end() - match.start()
            if closed <= depth:
                depth -= closed
            elif closed - depth >= 2:
                return match.start() + depth, match.start() + depth - at
            else:
                return -1, match.end() - at
    return -1, furthest - at
