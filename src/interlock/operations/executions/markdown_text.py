"""Escapes foreign text inside Markdown, so that it is never rendered as markup, a link or a mention.

Escaping markup is not enough: renderers such as GitHub's turn addresses, @names, #numbers and hashes into links after
parsing the Markdown, except in code. So text that contains any of these is shown as code.
"""

from __future__ import annotations

import re
from typing import Final

_BREAKS: Final = re.compile(r"\s+")
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0, DEL, C1, marks of reading direction, separators, invisible characters, and lone surrogates."""
_LINKED: Final = re.compile(
    r"[a-z][a-z0-9+.-]*:(?=\S)"  # an address with a scheme; :names: of emoji
    r"|www\."
    r"|[a-z0-9_-]\.[a-z]{2}"  # a host
    r"|@[^\s@]*\."  # an address of mail
    r"|(?<![a-z0-9_])@"  # a mention
    r"|\#[0-9]|\bgh-[0-9]"  # an issue
    r"|:[a-z0-9_+-]+:"
    r"|\b(?=[0-9]*[a-f])[0-9a-f]{7,64}\b",  # a commit
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
"""Text outside code that renderers turn into a link, a mention or a picture."""
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#+!|~&$])")
"""Characters of Markdown markup; parentheses have no meaning without brackets."""
_TICKS: Final = re.compile(r"`+")


def escaped(text: str) -> str:
    """Return the text on one line and escaped, for a table cell or a sentence."""
    line = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ", text).strip())
    if not _LINKED.search(line):
        return _MARKUP.sub(r"\\\1", line)
    # In a table a pipe ends the cell even inside code, so it is put between two pieces of code.
    return r"\|".join(map(code, line.split("|")))


def code(text: str) -> str:
    """Return a line as code, whatever it contains."""
    if not text.strip():
        return text
    fence = "`" * (max((len(run) for run in _TICKS.findall(text)), default=0) + 1)
    at_an_edge = text[0] == "`" or text[-1] == "`" or (text[0] == " " and text[-1] == " ")
    pad = " " if at_an_edge else ""
    return f"{fence}{pad}{text}{pad}{fence}"
