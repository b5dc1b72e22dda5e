"""CONTRIBUTING.md is true: it is followed to add a step kind, a trigger kind and an operation, and the gate passes.

Everything happens in a copy of the tree. `ADDED` and `INSERTED` are all that is written by hand; each file of theirs is
named by the section that it belongs to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "templates"
COMMANDS = Path(sys.executable).parent
STEP_KIND, TRIGGER_KIND, OPERATION = "## Add a step kind", "## Add a trigger kind", "## Add an operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """A text that is put before or behind the only place of an anchor."""

    section: str
    path: str
    named: str
    """How the section names the file."""
    anchor: str
    text: str
    before: bool = False


ADDED = {
    "src/interlock/steps/send_slack_message.py": (STEP_KIND, "`src/interlock/steps/`", "send_slack_message.py.txt"),
    "tests/steps/test_send_slack_message.py": (STEP_KIND, "`tests/steps/`", "test_send_slack_message.py.txt"),
    "examples/tell.json": (STEP_KIND, "`examples/`", "example.json.txt"),
    "src/interlock/triggers/schedule_no_user.py": (
        TRIGGER_KIND,
        "`src/interlock/triggers/`",
        "schedule_no_user.py.txt",
    ),
    "src/interlock/operations/executions/state.py": (
        OPERATION,
        "`src/interlock/operations/<resource>/`",
        "get_execution_state.py.txt",
    ),
    "tests/operations/test_execution_state.py": (OPERATION, "`tests/operations/`", "test_get_execution_state.py.txt"),
}

INSERTED = (
    Insertion(
        section=STEP_KIND,
        path="src/interlock/assembly/step_kinds.py",
        named="`assembly/step_kinds.py`",
        anchor="    RunAutomationStep: lambda parts: run_automation.kind(parts.ids),\n",
        text="    SendSlackMessageStep: lambda parts: send_slack_message.kind(parts.http, parts.settings),\n",
    ),
    Insertion(
        section=STEP_KIND,
        path="src/interlock/assembly/step_kinds.py",
        named="`assembly/step_kinds.py`",
        anchor="from interlock.steps.run_automation import RunAutomationStep\n",
        text="from interlock.steps.send_slack_message import SendSlackMessageStep\n",
    ),
    Insertion(
        section=STEP_KIND,
        path="src/interlock/assembly/step_kinds.py",
        named="`assembly/step_kinds.py`",
        anchor="from interlock.steps import evaluate_expressions, run_automation",
        text=", send_slack_message",
    ),
    Insertion(
        section=STEP_KIND,
        path="examples/README.md",
        named="`examples/`",
        anchor="| [two-starts.json]",
        text="| [tell.json](tell.json) | Tell | a message to a channel | `sendSlackMessage` | draft |\n",
        before=True,
    ),
    Insertion(
        section=STEP_KIND,
        path="CHANGELOG.md",
        named="`CHANGELOG.md`",
        anchor="## [Unreleased]\n\n### Added\n\n",
        text="- The step kind `sendSlackMessage`, with `serve --slack-url`.\n",
    ),
    Insertion(
        section=TRIGGER_KIND,
        path="src/interlock/triggers/registry.py",
        named="`triggers/registry.py`",
        anchor="= (manual.kind(),",
        text=" schedule_no_user.kind()",
    ),
    Insertion(
        section=TRIGGER_KIND,
        path="src/interlock/triggers/registry.py",
        named="`triggers/registry.py`",
        anchor="from interlock.triggers import manual",
        text=", schedule_no_user",
    ),
    Insertion(
        section=OPERATION,
        path="src/interlock/operations/executions/views.py",
        named="`views.py`",
        anchor="class ItemView(Message):\n",
        text='''class ExecutionState(Message):
    """The state of one execution."""

    proto_name: ClassVar[str] = "interlock.v1.ExecutionState"

    execution_id: Int64 = 0
    state: str = ""


''',
        before=True,
    ),
    Insertion(
        section=OPERATION,
        path="src/interlock/operations/executions/rows.py",
        named="`rows.py`",
        anchor="OPERATIONS: Final[tuple[Operation, ...]] = (\n",
        text="""    Operation(
        method="GET",
        path="/interlock/v1/executions/{id}/state",
        id=f"{OWN}GetExecutionState",
        summary="Get Execution State",
        description="The state of the execution alone.",
        handler=state.state,
        permission=Permission.EXECUTIONS_READ,
        response=views.ExecutionState,
        visibility=Visibility.OWN,
        parameters=EXECUTION_ID,
        tag=INTERLOCK_TAG,
        within_apps=True,
    ),
""",
    ),
    Insertion(
        section=OPERATION,
        path="src/interlock/operations/executions/rows.py",
        named="`rows.py`",
        anchor="import addenda, detail, events, handlers, leases, ",
        text="state, ",
    ),
    Insertion(
        section=OPERATION,
        path="tests/operations/test_role_matrix.py",
        named="`tests/operations/test_role_matrix.py`",
        anchor="OwnGetReceipt  ",
        text="OwnGetExecutionState                yes    yes    404    yes    403    403\n",
        before=True,
    ),
    Insertion(
        section=OPERATION,
        path="CHANGELOG.md",
        named="`CHANGELOG.md`",
        anchor="## [Unreleased]\n\n### Added\n\n",
        text="- `/interlock/v1/executions/{id}/state`: the state of an execution alone.\n",
    ),
)

GENERATED = (
    (STEP_KIND, "tools.readme"),
    (TRIGGER_KIND, "tools.readme"),
    (OPERATION, "tools.openapi"),
)

MYPY = (
    "src/interlock/steps",
    "src/interlock/triggers",
    "src/interlock/operations",
    "src/interlock/assembly",
    "tests/steps",
)
CONTRACTS = (
    "tests/steps/test_registry.py",
    "tests/steps/test_send_slack_message.py",
    "tests/triggers",
    "tests/operations/test_table.py",
    "tests/operations/test_role_matrix.py",
    "tests/operations/test_execution_state.py",
    "tests/tools/test_readme.py",
    "tests/compatibility/test_examples.py",
    "tests/api/test_document.py",
)


def section(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.split(f"{title}\n", 1)[1].split("\n## ", 1)[0]


def copy_of_the_tree(to: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for path in filter(None, listed.stdout.split("\0")):
        if (ROOT / path).is_file():
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, to / path)
    subprocess.run(["git", "init", "--quiet"], cwd=to, check=True)


def insert(tree: Path, insertion: Insertion) -> None:
    path = tree / insertion.path
    text = path.read_text(encoding="utf-8")
    assert text.count(insertion.anchor) == 1, f"{insertion.path} has not one place {insertion.anchor!r}"
    pieces = (insertion.text, insertion.anchor) if insertion.before else (insertion.anchor, insertion.text)
    path.write_text(text.replace(insertion.anchor, "".join(pieces)), encoding="utf-8")


def run(tree: Path, *command: str) -> None:
    done = subprocess.run(
        [str(COMMANDS / command[0]), *command[1:]],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-6_000:]}{done.stderr[-2_000:]}"


def test_contributing_names_each_file_that_is_written() -> None:
    for path, (title, named, _) in ADDED.items():
        assert named in section(title), f"{title} does not name {path}"
    for insertion in INSERTED:
        assert insertion.named in section(insertion.section), f"{insertion.section} does not name {insertion.path}"
    for title, tool in GENERATED:
        assert f"`python -m {tool}`" in section(title)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tree")
    copy_of_the_tree(made)
    for path, (_, _, template) in ADDED.items():
        shutil.copy(TEMPLATES / template, made / path)
    for insertion in INSERTED:
        insert(made, insertion)
    for _, tool in GENERATED:
        run(made, "python", "-m", tool)
    return made


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--quiet"),
        ("ruff", "format", "--check", "--quiet"),
        ("python", "tools/check_tree.py"),
        ("lint-imports", "--no-logo"),
        ("mypy", *MYPY),
        ("pytest", "-q", "-p", "no:cacheprovider", "-k", "tell.json or not example", *CONTRACTS),
    ],
    ids=lambda command: command[0] if command[0] != "ruff" else f"ruff-{command[1]}",
)
def test_tree_with_what_was_added_passes(command: tuple[str, ...], tree: Path) -> None:
    run(tree, *command)
