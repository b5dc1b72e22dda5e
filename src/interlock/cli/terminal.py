"""Text on its way to a person: the one place that prints, and that keeps control characters from a terminal.

Names, reasons, messages and answers come from others. A character that would move the cursor, change a colour or the
direction of reading, or break a line is shown as a replacement character; in JSON it is written as its escape, so that
a program still reads exactly what was sent.
"""

import re

import click

_COMMANDING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""C0, DEL, C1, marks of reading direction, line separators, what is invisible, and lone surrogates."""
_IN_JSON = re.compile(_COMMANDING.pattern.replace("\x00-\x1f", ""))
"""The same without C0: inside strings the json module has escaped it, and between them it is our own layout."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def one_line(text: object) -> str:
    """Text for a cell or inside a sentence, with nothing in it that would command the terminal or break the line."""
    return _COMMANDING.sub(_REPLACEMENT, str(text))


def lines(text: object) -> str:
    """Text that may have several lines, with nothing else in it that would command the terminal."""
    return "\n".join(one_line(line.replace("\t", "    ")) for line in str(text).replace("\r\n", "\n").split("\n"))


def json_text(text: str) -> str:
    """JSON, as the json module wrote it, with every such character as an escape of JSON."""
    return _IN_JSON.sub(_escape, text)


def say(text: str, *, end: str = "\n") -> None:
    """Print data on stdout."""
    click.echo(lines(text) + end, nl=False)


def tell(text: str, *, end: str = "\n") -> None:
    """Print anything that is not data on stderr."""
    click.echo(lines(text) + end, nl=False, err=True)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
