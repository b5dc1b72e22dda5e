"""A kind of step or trigger is named in its own file and in its registration, and nowhere else in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.assembly.step_kinds import RELEASED as STEPS
from interlock.triggers.registry import RELEASED as TRIGGERS

SOURCE = Path(__file__).parents[2] / "src" / "interlock"
KINDS = {step.kind for step in STEPS} | {kind.name for kind in TRIGGERS}
MODULES = {step.__module__ for step in STEPS} | {kind.trigger.__module__ for kind in TRIGGERS}
MAY_NAME = {"assembly/step_kinds.py", "triggers/registry.py"}
"""The files of the registration. The messages of the contract have their own names."""


def constants(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def names_of_kinds(source: str, path: str = "engine/x.py") -> list[str]:
    """The imports of the module of a kind, and the comparisons with its name or its class attribute `kind`."""
    found: list[str] = []
    own = "interlock." + path.removesuffix(".py").replace("/", ".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            imported = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            found += sorted(imported & (MODULES - {own}))
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in MODULES - {own}]
        elif isinstance(node, ast.Compare | ast.MatchValue):
            found += [text for text in constants(node) if text in KINDS]
        elif isinstance(node, ast.match_case) and node.guard is not None:
            found += [text for text in constants(node.guard) if text in KINDS]
    return found


def test_no_other_file_names_a_kind() -> None:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in MAY_NAME and not name.startswith("contract/"):
            kinds = names_of_kinds(path.read_text(encoding="utf-8"), name)
            if kinds:
                found[name] = kinds
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "from interlock.steps.webhook import usable",
        "from interlock.steps import webhook",
        "from interlock.triggers import manual",
        "import interlock.steps.run_automation",
        "x = step.kind == 'runAutomation'",
        "x = arm in ('manual', 'form')",
        "match kind:\n    case 'webhook':\n        pass",
        "match outcome:\n    case 1 if step.kind == 'runAutomation':\n        pass",
    ],
)
def test_each_way_to_name_a_kind_is_found(source: str) -> None:
    assert names_of_kinds(source)
