"""The rules of the tree find what they are for, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from tools.check_tree import (
    MAX_FILE_LINES,
    WORD_EXCEPTIONS,
    WORDS,
    check_cycles,
    check_file,
    check_lock,
    check_migrations,
    check_words,
    main,
)

PROJECT = """
[project]
dependencies = ["click>=8.3", "types-PyYAML"]
[dependency-groups]
dev = ["pytest>=9"]
"""


def texts(path: str, text: str) -> list[str]:
    return [str(finding) for finding in check_file(path, text)]


@pytest.mark.parametrize("room", ["src/interlock", "simulation", "tools", "benchmarks", "tests/rules", "examples"])
def test_python_file_above_400_lines_fails(room: str) -> None:
    [finding] = check_file(f"{room}/a.py", "x = 1\n" * 401)
    assert finding.line == MAX_FILE_LINES + 1
    assert not texts(f"{room}/a.py", "x = 1\n" * 400)
    assert not texts(f"{room}/long.md", "x\n" * 5_000)


@pytest.mark.parametrize("place", ["/work" + "/main", "'/tmp" + "/x'", "(/root" + "/.config)", "/home" + "/ann/x"])
def test_a_place_of_one_machine_is_found(place: str) -> None:
    assert texts("README.md", f"see {place}")[0].startswith("README.md:1: names a place")


@pytest.mark.parametrize("path", ["/api/v1/work/x", "~/tmp/x", "$ROOT/root/x", "framework/", "build/tmp/x", "/home"])
def test_a_path_that_only_looks_like_one_is_left_alone(path: str) -> None:
    assert not texts("README.md", f"see {path}")


def test_a_package_registry_is_found() -> None:
    assert texts("requirements/dev.txt", "--index-url https://pypi." + "org/simple")


def test_what_was_left_open_is_found_in_the_source_only() -> None:
    assert texts("src/interlock/a.py", "# TO" + "DO: later")
    assert texts("src/interlock/a.py", "raise NotImplemented" + "Error")
    assert not texts("docs/a.md", "# TO" + "DO: later")


@pytest.mark.parametrize(
    "line", ["import asyncio", "from interlock.errors import X", "import pydantic", "import interlock"]
)
def test_rules_may_not_import_anything_that_acts(line: str) -> None:
    assert texts("src/interlock/rules/a.py", line)
    assert not texts("src/interlock/engine/a.py", line)


@pytest.mark.parametrize(
    "line", ["from interlock.rules.states import State", "import enum", "from collections.abc import Set"]
)
def test_rules_may_import_each_other_and_plain_python(line: str) -> None:
    assert not texts("src/interlock/rules/a.py", line)


FORBIDDEN = {
    "far ends?": "the far end",
    "other side": "the other side",
    "nobody|somebody|everybody": "nobody knows",
    "whoever": "Whoever asks",
    "mend(?:s|ed|ing)?": "All of it is mended",
    "dear(?:er|est|ly)?": "a dear call",
    "at rest for good": "a run at rest for good",
    "under way": "runs under way",
    "br(?:eaks?|oke|oken|eaking) off": "the turn broke off",
    "stands? still": "A store stands still",
    "orders? (?:about|to stop)": "an order to stop",
    "be(?:fall|falls|fell|fallen)": "what befell it",
    "lest": "lest it waits",
    "to be had": "is to be had",
}
"""One sentence for each entry of the word list."""


def test_every_entry_of_the_word_list_finds_its_sentence() -> None:
    assert FORBIDDEN.keys() == WORDS.keys()
    for word, sentence in FORBIDDEN.items():
        [finding] = check_file("README.md", sentence)
        assert finding.text.endswith(f"write: {WORDS[word]}")


@pytest.mark.parametrize(
    "text",
    [
        "the far\nend",
        "# the far\n    # end",
        '"the far "\n    "end"',
        "far_end = 1",
        "def test_far_end_answers(): ...",
        "FAR_ENDS = 2",
        "the far-end",
        "> the far\n> end",
    ],
)
def test_word_is_found_in_names_and_across_lines(text: str) -> None:
    [finding] = check_file("README.md", text)
    assert (finding.text.split(" is ")[0], finding.line) in {('"far end"', 1), ('"FAR ENDS"', 1)}


@pytest.mark.parametrize("text", ["amended, recommend", "harvestable, molest", "endear", "the far. End", "farend"])
def test_part_of_another_word_is_not_a_hit(text: str) -> None:
    assert not texts("README.md", text)


def test_line_of_a_hit_is_the_line_where_it_begins() -> None:
    [finding] = check_file("README.md", "one\ntwo\nand nobody\n")
    assert finding.line == 3


@pytest.mark.parametrize(
    "path", ["Makefile", "pyproject.toml", "a/new/room.py", "src/interlock/store/migrations/9999_x.sql"]
)
def test_words_are_found_in_every_file(path: str) -> None:
    assert texts(path, "# nobody")


def test_exception_from_the_words_has_a_reason_and_needs_it() -> None:
    root = Path(__file__).resolve().parents[2]
    for path, reason in WORD_EXCEPTIONS.items():
        assert reason
        text = (root / path).read_text(encoding="utf-8")
        assert not list(check_words(path, text))
        assert list(check_words("a.md", text)), f"{path} needs no exception"


def test_a_lock_that_lags_behind_the_project_is_found() -> None:
    assert not list(check_lock(PROJECT, "click==8.5.1 \\\ntypes-pyyaml==6\n", groups=False, path="lock"))
    missing = list(check_lock(PROJECT, "click==8.1 \\\ntypes-pyyaml==6\n", groups=True, path="lock"))
    assert [finding.text.split(";")[0] for finding in missing] == [
        "does not hold click>=8.3",
        "does not hold pytest>=9",
    ]


def test_the_script_reads_new_files_leaves_ignored_ones_and_says_so_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "requirements").mkdir()
    for name in ("dev.txt", "runtime.txt"):
        (tmp_path / "requirements" / name).write_text("click==8.5.1\ntypes-pyyaml==6\npytest==9.0\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    (tmp_path / "ignored.md").write_text("/work" + "/main")
    (tmp_path / "picture.png").write_bytes(b"\xff\xfe\x00")
    assert main([str(tmp_path)]) == 0

    (tmp_path / "new.md").write_text("/work" + "/main")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("new.md:1: ")


@pytest.mark.parametrize(
    ("numbers", "wrong"), [([1, 2, 3], None), ([1, 2, 2], "2"), ([1, 3], "3"), ([2], "2"), ([], None)]
)
def test_migrations_are_numbered_through(numbers: list[int], wrong: str | None) -> None:
    paths = [f"src/interlock/store/migrations/{number:04}_{at}.sql" for at, number in enumerate(numbers)]
    found = [str(finding) for finding in check_migrations([*paths, "src/interlock/store/sql/access.sql"])]
    assert len(found) == (wrong is not None)
    assert wrong is None or f"has the number {wrong};" in found[0]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a/b.py": "import a.c", "a/c.py": "from a import b"}, 1),
        ({"a/b.py": "from a.c import x", "a/c.py": "from a.d import x", "a/d.py": "import a.b"}, 1),
        ({"a/b.py": "if TYPE_CHECKING:\n    from a.c import x", "a/c.py": "def f():\n    import a.b"}, 1),
        ({"src/p/__init__.py": "from p.b import x", "src/p/b.py": "from p import y"}, 1),
        ({"a/b.py": "import a.c", "a/c.py": "import a.b", "d.py": "import e", "e.py": "import d"}, 2),
        ({"a/b.py": "import a.c\nimport a.d", "a/c.py": "import a.d", "a/d.py": "import os"}, 0),
        ({"src/p/__init__.py": "from p.b import x", "src/p/b.py": "from p import c", "src/p/c.py": ""}, 0),
        ({"a/b.md": "import a.c", "a/c.py": "import a.b"}, 0),
        ({"a/b.py": "from . import c", "a/c.py": "from .b import x"}, 1),
        ({"a/__init__.py": "from .b import x", "a/b.py": "from . import y"}, 1),
        ({"a/b/c.py": "from ..d import x", "a/d.py": "from .b.c import x"}, 1),
        ({"a/__init__.py": "from .b import x", "a/b.py": "from .c import x", "a/c.py": ""}, 0),
        ({"p/__init__.py": "import q", "p/b.py": "", "q.py": "from p.b import x"}, 1),
        ({"p/__init__.py": "import r", "p/b.py": "", "q.py": "from p.b import x", "r.py": ""}, 0),
        ({"simulation/a.py": "import tools.b", "tools/b.py": "import tests.c", "tests/c.py": "import simulation.a"}, 1),
    ],
)
def test_modules_that_import_each_other_are_found(files: dict[str, str], found: int) -> None:
    assert len(list(check_cycles(files))) == found
