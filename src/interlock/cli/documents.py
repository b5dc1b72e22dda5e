"""Reading JSON that a person wrote: automation files, and the context of a run."""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from interlock.cli.failures import Exit, Failure


def read_text(source: str) -> str:
    """The text of a file, or of stdin for `-`.

    Raises:
        Failure: it cannot be read.
    """
    try:
        if source == "-":
            return sys.stdin.read()
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read {source}: {error}", Exit.USAGE) from error


def parse(text: str, source: str) -> Any:
    """The JSON value in a text. Stricter than the json module: a member given twice, or NaN, is an error.

    Raises:
        Failure: it is no JSON; the message says where.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise Failure(f"{source}: given twice: {', '.join(twice)}", Exit.USAGE)
        return found

    def constant(name: str) -> NoReturn:
        raise Failure(f"{source}: {name} is not JSON", Exit.USAGE)

    try:
        return json.loads(text, object_pairs_hook=members, parse_constant=constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Failure(f"{source}: not JSON: {error.msg} ({where})", Exit.USAGE) from error
    except RecursionError as error:
        raise Failure(f"{source}: nested too deeply", Exit.USAGE) from error


def read_automations(source: str) -> list[dict[str, Any]]:
    """The automations in a file: one object, or an array of them.

    Raises:
        Failure: the file is no such thing, or an automation in it has neither a displayName nor an id.
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
    """The context of a run: a JSON object given as text, as `@FILE`, or as `-` for stdin.

    Raises:
        Failure: it is no JSON object.
    """
    source = "-" if text == "-" else text.removeprefix("@") if text.startswith("@") else None
    value = parse(text, "--context") if source is None else parse(read_text(source), source)
    if not isinstance(value, dict):
        raise Failure("--context: a JSON object is needed", Exit.USAGE)
    return value
