"""The execution ids that a command is given as arguments or on stdin."""

import re
from collections.abc import Iterable

from interlock.cli.documents import parse, read_text
from interlock.cli.failures import Exit, Failure

_ID = re.compile(r"[1-9][0-9]{0,18}")


def execution_ids(given: Iterable[str]) -> list[str]:
    """Return execution ids without duplicates, in order; `-` stands for the ids on stdin."""
    texts: list[str] = []
    for text in given:
        texts += [_id_of(line) for line in read_text("-").split("\n") if line.strip()] if text == "-" else [text]
    wrong = [text for text in texts if not _ID.fullmatch(text)]
    if wrong:
        raise Failure(f"not an execution id: {', '.join(wrong)}", Exit.USAGE)
    return list(dict.fromkeys(texts))


def _id_of(line: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    value = parse(line, "stdin")
    return str(value.get("id") or value.get("executionId") or line)
