"""The tool that tests the tests: what it changes, and that its list of changes which mean nothing is true."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools.mutants.__main__ import main, of
from tools.mutants.equivalent import EQUIVALENT
from tools.mutants.operators import function_code, mutants
from tools.mutants.running import Fate, _attack, run_all
from tools.mutants.scope import ROOT, SUBJECTS
from tools.mutants.statements import statement_mutants


def changes(text: str, function: str = "f") -> set[str]:
    return {mutant.after for mutant in mutants("m", text) if mutant.function == function}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("return a < b", {"return None", "return a <= b", "return a >= b"}),
        ("return a is not None", {"return None", "return a is None"}),
        ("return a and b", {"return None", "return a or b", "return a", "return b"}),
        ("return a + 1", {"return None", "return a - 1", "return a + 2", "return a + 0"}),
        ("return not a", {"return None", "return a"}),
        ("return {State.DONE}", {"return None", "return set()", "return {State.ERROR}"}),
        ("return min(a, b)", {"return None", "return max(a, b)", "return a", "return b", "return min(a)"}
         | {"return min(None, b)", "return min(a, None)"}),
        ("return g(x=a)", {"return None", "return g()"}),
        ("return True", {"return False"}),
        ("g()", {"pass"}),
        ("a.b = c", {"pass"}),
        ("a.n += c", {"pass", "a.n -= c"}),
        ("raise E('text')", {"pass"}),
        ("if g(): return", {"if not g():", "if False:"}),
        ("'documentation'", set()),
        ("assert a > b", set()),
        ("_log.warning('text', a)", set()),
    ],
)  # fmt: skip
def test_a_statement_is_changed_in_each_of_these_ways(statement: str, expected: set[str]) -> None:
    assert changes(f"def f(a, b, c):\n    {statement}") == expected


def test_cases_handlers_and_final_blocks_are_changed_too() -> None:
    text = """
class C:
    def f(self, a):
        try:
            match a:
                case 1 | 2: return
                case _: g()
        except E:
            return
        finally:
            h()
"""
    found = changes(text, "C.f")
    assert {"case 1", "case 2", "case _ if False", "except E: raise", "try ... finally: pass"} <= found


def test_what_runs_at_an_import_is_changed_and_belongs_to_no_function() -> None:
    text = "N = 2\ndef f(a: int = 1) -> int:\n    return a\nclass C:\n    n: int = 0\n"
    assert changes(text, "") == {"N = 3", "N = 1", "def f(a: int=2)", "def f(a: int=0)", "n: int = 1"}


@pytest.mark.parametrize(
    "alias", ["Next = A | B", "Job = Callable[[Tx], T]", "T = TypeVar('T')", "Name = NewType('Name', str)"]
)
def test_a_name_for_a_type_is_not_changed_because_it_means_nothing_to_a_run(alias: str) -> None:
    assert changes(f"{alias}\nN = A | B", "") == {"N = A & B"}


def test_a_changed_function_does_what_it_then_says() -> None:
    [changed] = [
        mutant for mutant in mutants("m", "class C:\n    def f(self, a): return a < 1") if ">=" in mutant.after
    ]

    def f(self: None, a: int) -> bool:
        return a < 1

    f.__code__ = function_code(changed.code(), "C.f")
    assert (f(None, 0), f(None, 1)) == (False, True)


def test_each_change_that_is_said_to_mean_nothing_is_one_that_is_made() -> None:
    made = {str(mutant) for subject in SUBJECTS for mutant in of(subject)}
    assert set(EQUIVALENT) <= made
    assert all(EQUIVALENT.values())


def test_every_mutant_is_a_program() -> None:
    text = SUBJECTS[0].path.read_text(encoding="utf-8")
    for mutant in mutants("admit", text):
        mutant.code()


def test_a_statement_of_sql_is_changed_too() -> None:
    found = statement_mutants("m", {"s": "SELECT a FROM t WHERE a <= :n AND b IN ('DONE') ORDER BY a LIMIT 1"})
    assert {" ".join(mutant.text.split()) for mutant in found} == {
        "SELECT a FROM t WHERE a < :n AND b IN ('DONE') ORDER BY a LIMIT 1",
        "SELECT a FROM t WHERE a <= :n OR b IN ('DONE') ORDER BY a LIMIT 1",
        "SELECT a FROM t WHERE a <= :n ORDER BY a LIMIT 1",
        "SELECT a FROM t WHERE a <= :n AND b IN ('WAITING') ORDER BY a LIMIT 1",
        "SELECT a FROM t WHERE a <= :n AND b IN ('DONE') LIMIT 1",
        "SELECT a FROM t WHERE a <= :n AND b IN ('DONE') ORDER BY a",
    }


def test_a_mutant_that_no_test_can_notice_has_survived() -> None:
    """Of a function that no test calls, no test is chosen."""
    [changed] = mutants("tools.mutants.scope", "def path_of(module):\n    return 1 + 1")[:1]
    job = (changed, _attack(changed, []), 60.0)
    assert [verdict.fate for verdict in run_all([job], 1)] == [Fate.SURVIVED]


def test_a_sample_of_the_changes_to_the_rules_is_noticed() -> None:
    """All of them by hand: `python -m tools.mutants`."""
    asked = ["--module", "rules", "--sample", "80", "--seed", "1", "--longest", "1", "--least", "95"]
    command = [sys.executable, "-m", "tools.mutants", *asked]
    ran = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_choice_that_nothing_fits_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--module", "rules.nothing"]) == 2
    assert "nothing fits --module and --function" in capsys.readouterr().err
