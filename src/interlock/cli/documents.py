"""Read JSON files of a user: automations, and the context of a run."""

import json
import math
import sys
from typing import Any, NoReturn

from interlock.cli.failures import Exit, Failure, reason_of

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""Maximum bytes of a file or of stdin; far above the largest body that a server accepts."""


def read_text(source: str) -> str:
    """Return the text of a file, or of stdin for `-`.

    Raises:
        Failure: The source cannot be read, is not UTF-8, or is larger than `MAX_DOCUMENT_BYTES`.
    """
    name = "stdin" if source == "-" else f"the file {source!r}"
    try:
        if source == "-":
            data = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(MAX_DOCUMENT_BYTES + 1)
        text = data.decode("utf-8-sig") if len(data) <= MAX_DOCUMENT_BYTES else ""
    except (OSError, ValueError) as error:
        raise Failure(f"cannot read {name}: {reason_of(error)}", Exit.USAGE) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Failure(f"cannot read {name}: it is larger than {MAX_DOCUMENT_BYTES} bytes", Exit.USAGE)
    return text


def parse(text: str, source: str) -> Any:
    """Return the JSON value of a text. Duplicate members and NaN are errors.

    Raises:
        Failure: The text is not JSON; the message has line and column.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise Failure(f"{source}: duplicate member: {', '.join(twice)}", Exit.USAGE)
        return found

    def constant(name: str) -> NoReturn:
        raise Failure(f"{source}: {name} is not JSON", Exit.USAGE)

    def number(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            raise Failure(f"{source}: the number {digits[:40]} is too large", Exit.USAGE)
        return value

    try:
        return json.loads(text, object_pairs_hook=members, parse_constant=constant, parse_float=number)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        why = error.msg if text.strip() else "it is empty"
        raise Failure(f"{source}: not JSON: {why} ({where})", Exit.USAGE) from error
    except ValueError as error:
        raise Failure(f"{source}: a number has too many digits", Exit.USAGE) from error
    except RecursionError as error:
        raise Failure(f"{source}: nested too deeply", Exit.USAGE) from error


def read_automations(source: str) -> list[dict[str, Any]]:
    """Return the automations in a file: one object, or an array of objects.

    Raises:
        Failure: The file contains something else, or an automation without displayName and id.
    """
    value = parse(read_text(source), source)
    automations = value if isinstance(value, list) else [value]
    for automation in automations:
        if not isinstance(automation, dict):
            raise Failure(f"{source}: an automation is a JSON object, or an array of them", Exit.USAGE)
        if not any(isinstance(automation.get(name), str) and automation[name] for name in ("id", "displayName")):
            raise Failure(f"{source}: an automation needs a displayName, or the id of an existing one", Exit.USAGE)
    return automations


def read_context(text: str) -> dict[str, Any]:
    """Return the context of a run from a JSON object, `@FILE`, or `-` for stdin.

    Raises:
        Failure: The text is not a JSON object.
    """
    source = "-" if text == "-" else text.removeprefix("@") if text.startswith("@") else None
    value = parse(text, "--context") if source is None else parse(read_text(source), source)
    if not isinstance(value, dict):
        raise Failure("--context: not a JSON object", Exit.USAGE)
    return value
