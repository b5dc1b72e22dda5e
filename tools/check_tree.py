"""The rules of the tree that no linter knows: file length, places of one machine, what was left open, pure rules/.

    python tools/check_tree.py [ROOT]

Reads every file that git knows or would add. Findings go to stdout, one a line as `path:line: what and why`; the exit
code is 1 if any of them is an error. A file between the two lengths is only pointed out.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LONG = 400
"""Lines from which a Python file is pointed out: look for its seam."""
TOO_LONG = 800
"""Lines above which a Python file fails."""

# The dots are escaped, so these patterns do not find themselves.
_MACHINE_PLACE = re.compile(r"(?<![\w.~$}-])/(?:work|root|tmp)/|/home/[a-z]+/")
_REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org|deb\.debian\.org")
_MIGRATION = re.compile(r"^src/interlock/store/migrations/(\d{4})_\w+\.sql$")
_LEFT_OPEN = re.compile(r"\b(?:TODO|FIXME|XXX)\b|\bNotImplementedError\b")

_PURE = frozenset(
    {"__future__", "collections", "dataclasses", "datetime", "enum", "functools", "itertools", "math", "operator", "re"}
    | {"types", "typing"}
)
"""All that `rules/` may import beside itself: nothing that reads a clock, does I/O or waits."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend (`fails`) or to look at."""

    path: str
    line: int
    text: str
    fails: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {'' if self.fails else 'note: '}{self.text}"


def check_file(path: str, text: str) -> Iterator[Finding]:
    """Findings in one file; `path` is relative to the root, with forward slashes."""
    lines = text.splitlines()
    if path.endswith(".py"):
        if len(lines) > TOO_LONG:
            yield Finding(path, TOO_LONG + 1, f"{len(lines)} lines, more than {TOO_LONG}: split it by subject")
        elif len(lines) > LONG:
            yield Finding(path, LONG + 1, f"{len(lines)} lines: where is its seam?", fails=False)
    for number, line in enumerate(lines, 1):
        if _MACHINE_PLACE.search(line):
            yield Finding(
                path, number, "names a place of one machine; take it from a parameter or a temporary directory"
            )
        if _REGISTRY_HOST.search(line):
            yield Finding(path, number, "names a package registry; which one to use is the machine's configuration")
        if path.startswith("src/") and _LEFT_OPEN.search(line):
            yield Finding(path, number, "left open; finish it, or file it")
    if path.startswith("src/interlock/rules/") and path.endswith(".py"):
        yield from _impure_imports(path, text)


def _impure_imports(path: str, text: str) -> Iterator[Finding]:
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if (
                name.split(".")[0] not in _PURE
                and name != "interlock.rules"
                and not name.startswith("interlock.rules.")
            ):
                yield Finding(path, node.lineno, f"rules/ is pure and may not import {name}")


def check_lock(project: str, lock: str, *, groups: bool, path: str) -> Iterator[Finding]:
    """Findings where the lock at `path` does not satisfy what pyproject.toml asks for.

    `groups` says whether the development groups have to be in it too.
    """
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    data = tomllib.loads(project)
    wanted: list[str] = list(data["project"]["dependencies"])
    if groups:
        wanted += [text for group in data.get("dependency-groups", {}).values() for text in group]
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            yield Finding(path, 1, f"does not hold {requirement}; run `make lock` and commit the result")


def check_migrations(paths: Iterable[str]) -> Iterator[Finding]:
    """Findings in the numbers of the migrations: two branches that each took the next one do not conflict otherwise."""
    migrations = sorted(path for path in paths if _MIGRATION.search(path))
    for number, path in enumerate(migrations, 1):
        match = _MIGRATION.search(path)
        if match is not None and int(match[1]) != number:
            yield Finding(path, 1, f"is migration {number} in order, and has the number {int(match[1])}; renumber it")
            return


def tree(root: Path) -> Iterator[tuple[str, str]]:
    """Path and text of every file that git knows or would add; what is not UTF-8 is no source and is left out."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for path in sorted(filter(None, subprocess.run(command, capture_output=True, check=True).stdout.split(b"\0"))):
        name = path.decode()
        try:
            yield name, (root / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    files = list(tree(root))
    findings = [finding for path, text in files for finding in check_file(path, text)]
    findings += check_migrations(path for path, _ in files)
    for name, groups in (("requirements/dev.txt", True), ("requirements/runtime.txt", False)):
        findings += check_lock(project, (root / name).read_text(encoding="utf-8"), groups=groups, path=name)
    for finding in findings:
        print(finding)
    return 1 if any(finding.fails for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
