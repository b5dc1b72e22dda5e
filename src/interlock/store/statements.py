"""SQL in named files: each statement stands under `-- name: some_name` and one line of purpose."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


@cache
def load(subject: str) -> dict[str, str]:
    """The statements of one subject, by name.

    Raises:
        ValueError: a name is given twice.
    """
    text = resources.files("interlock.store").joinpath("sql", f"{subject}.sql").read_text("utf-8")
    parts = _NAME.split(text)
    statements: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in statements:
            raise ValueError(f"{subject}.sql names {name} twice")
        lines = [line for line in body.strip().splitlines() if not line.startswith("--")]
        statements[name] = "\n".join(lines).strip().rstrip(";")
    return statements


def subjects() -> list[str]:
    """The names of all statement files."""
    folder = resources.files("interlock.store").joinpath("sql")
    return sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))
