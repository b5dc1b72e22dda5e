"""Check the rules of the tree that no linter knows: length, machine paths, open ends, pure rules/, cycles, words.

    python tools/check_tree.py [ROOT]

The script reads every file that git tracks or would add. It prints findings to stdout, one a line, as
`path:line: what and why`, and exits with code 1 if there is any.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MAX_FILE_LINES = 400
"""Lines of a Python file: a longer one has a second subject."""

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


_WORD_GAP = r"""(?:[_-]|[\s"'#>*]+)"""
"""What may stand between the words of a phrase: spaces, a line break with its comment sign or quotes, `_` or `-`."""

WORDS: dict[str, str] = {
    "far ends?": "remote or receiver",
    "other side": "remote or receiver",
    "nobody|somebody|everybody": "the noun: caller, client, operator, user, process",
    "whoever": "the noun: a caller that, a client that",
    "mend(?:s|ed|ing)?": "fix",
    "dear(?:er|est|ly)?": "expensive",
    "at rest for good": "terminal",
    "under way": "active, in progress",
    "br(?:eaks?|oke|oken|eaking) off": "fail, stop, cut",
    "stands? still": "is frozen",
    "orders? (?:about|to stop)": "bulk termination",
    "be(?:fall|falls|fell|fallen)": "happen to",
    "lest": "so that … not",
    "to be had": "available",
}
"""Words and phrases (regular expressions, a space for any gap) that are not used, and what to write instead."""

_RELEASED_MIGRATION = "a released migration never changes: each database has its checksum"

WORD_EXCEPTIONS: dict[str, str] = {
    "docs/glossary.md": "it lists the words in order to replace them",
    "tools/check_tree.py": "it lists the words in order to forbid them",
    "tests/tools/test_check_tree.py": "it tests that each word is found",
    "src/interlock/store/migrations/0001_executions.sql": _RELEASED_MIGRATION,
    "src/interlock/store/migrations/0008_leases.sql": _RELEASED_MIGRATION,
    "src/interlock/store/migrations/0009_addenda.sql": _RELEASED_MIGRATION,
    "src/interlock/store/migrations/0010_stopped_below.sql": _RELEASED_MIGRATION,
    "src/interlock/store/migrations/0011_subjects.sql": _RELEASED_MIGRATION,
    "src/interlock/store/migrations/0012_restores.sql": _RELEASED_MIGRATION,
    "src/interlock/store/migrations/0016_runs_of_revoked_tenants.sql": _RELEASED_MIGRATION,
}
"""Files in which `WORDS` are permitted, and why."""

_WORD_PATTERNS = tuple(
    (re.compile(rf"(?<![A-Za-z])(?:{word.replace(' ', _WORD_GAP)})(?![A-Za-z])", re.IGNORECASE), instead)
    for word, instead in WORDS.items()
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One error."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def check_file(path: str, text: str) -> Iterator[Finding]:
    """Yield the findings in one file; `path` is relative to the root, with forward slashes."""
    lines = text.splitlines()
    if path.endswith(".py"):
        yield from _length(path, len(lines))
    for number, line in enumerate(lines, 1):
        if _MACHINE_PLACE.search(line):
            yield Finding(
                path, number, "names a place of one machine; take it from a parameter or a temporary directory"
            )
        if _REGISTRY_HOST.search(line):
            yield Finding(path, number, "names a package registry; which one to use is the machine's configuration")
        if path.startswith("src/") and _LEFT_OPEN.search(line):
            yield Finding(path, number, "left open; finish it, or file it")
    yield from check_words(path, text)
    if path.startswith("src/interlock/rules/") and path.endswith(".py"):
        yield from _impure_imports(path, text)


def _length(path: str, lines: int) -> Iterator[Finding]:
    if lines > MAX_FILE_LINES:
        yield Finding(path, MAX_FILE_LINES + 1, f"{lines} lines, more than {MAX_FILE_LINES}: split it by subject")


def check_words(path: str, text: str) -> Iterator[Finding]:
    """Yield the words of one file that docs/glossary.md replaces by others.

    Args:
        path: Path relative to the root, with forward slashes. Every file is checked, except `WORD_EXCEPTIONS`.
        text: The text of the file.
    """
    if path in WORD_EXCEPTIONS:
        return
    for pattern, instead in _WORD_PATTERNS:
        for match in pattern.finditer(text):
            found = " ".join(re.split(_WORD_GAP, match[0]))
            yield Finding(path, text.count("\n", 0, match.start()) + 1, f'"{found}" is not our word; write: {instead}')


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


def check_cycles(files: Mapping[str, str]) -> Iterator[Finding]:
    """Findings where Python modules import each other in a circle; an import for type checking alone counts.

    Args:
        files: text of each file by its path.
    """
    modules = {_module(path): path for path in files if path.endswith(".py")}
    graph = {}
    for module, path in modules.items():
        imported = set(_imported(files[path], path, module, modules))
        # Python runs the packages around a module before the module itself, unless they run already.
        around = {package for name in imported for package in _around(name) if package in modules}
        graph[module] = sorted((imported - {module}) | (around - {module, *_around(module)}))
    for cycle in _cycles(graph):
        where = modules[cycle[0]]
        yield Finding(
            where, 1, f"imports itself through {', '.join(cycle[1:])}; give what they share a module below them"
        )


def _module(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _around(module: str) -> Iterator[str]:
    """Yield the names of the packages that a module is in."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _imported(text: str, path: str, module: str, known: Container[str]) -> Iterator[str]:
    """Yield the names of the modules that a file imports and that are ours."""
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, module, is_package=path.endswith("/__init__.py"))
            inner = [f"{source}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in known)
            # `from package import module` needs of the package only the module.
            if source in known and not all(name in known for name in inner):
                yield source


def _source(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    """Return the absolute name of what `node` imports from; `module` is the module that contains it."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    package = parts[: len(parts) - node.level + is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def _cycles(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other, each sorted (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for following in graph[node]:
            if following not in index:
                visit(following)
                low[node] = min(low[node], low[following])
            elif following in stack:
                low[node] = min(low[node], index[following])
        if low[node] == index[node]:
            at = stack.index(node)
            component = sorted(stack[at:])
            del stack[at:]
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def check_lock(project: str, lock: str, *, groups: bool, path: str) -> Iterator[Finding]:
    """Yield the requirements of pyproject.toml that the lock does not satisfy.

    Args:
        project: The text of pyproject.toml.
        lock: The text of the lock.
        groups: Whether the lock has to hold the development groups, too.
        path: The path of the lock, for the findings.
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
    """Yield the first wrong number of a migration; git sees no conflict when two branches take the same number."""
    migrations = sorted(path for path in paths if _MIGRATION.search(path))
    for number, path in enumerate(migrations, 1):
        match = _MIGRATION.search(path)
        if match is not None and int(match[1]) != number:
            yield Finding(path, 1, f"is migration {number} in order, and has the number {int(match[1])}; renumber it")
            return


def tree(root: Path) -> Iterator[tuple[str, str]]:
    """Yield path and text of every file that git tracks or would add, except files that are not UTF-8."""
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
    findings += check_cycles(dict(files))
    for name, groups in (("requirements/dev.txt", True), ("requirements/runtime.txt", False)):
        findings += check_lock(project, (root / name).read_text(encoding="utf-8"), groups=groups, path=name)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
