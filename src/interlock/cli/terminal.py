"""All output to a terminal: this module prints, and replaces control characters.

Names, reasons, messages and answers are external data. A character that would move the cursor, change a colour or the
direction of reading, or break a line is shown as a replacement character; in JSON it is written as its escape, so that
a program still reads exactly what was sent.
"""

import re

import click

_COMMANDING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0, DEL, C1, direction marks, line separators, invisible characters, and lone surrogates."""
_IN_JSON = re.compile(_COMMANDING.pattern.replace("\x00-\x1f", ""))
"""The same without C0, which the json module escapes inside strings and which is layout elsewhere."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def one_line(text: object) -> str:
    """Return text without control characters and line breaks, for a cell or a sentence."""
    return _COMMANDING.sub(_REPLACEMENT, str(text))


def lines(text: object) -> str:
    """Return text without control characters except line breaks."""
    return "\n".join(one_line(line.replace("\t", "    ")) for line in str(text).replace("\r\n", "\n").split("\n"))


def json_text(text: str) -> str:
    """Return the output of the json module with every such character escaped."""
    return _IN_JSON.sub(_escape, text)


def say(text: str, *, end: str = "\n") -> None:
    """Print data on stdout."""
    click.echo(lines(text) + end, nl=False)


def tell(text: str, *, end: str = "\n") -> None:
    """Print a message on stderr."""
    click.echo(lines(text) + end, nl=False, err=True)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
