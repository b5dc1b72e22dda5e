"""The file of marks: the runs that an ended process was evaluating."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.model import Ref
from interlock.store.marks import MAX_MARKED_RUNS, FileMarks

A, B = Ref(1, 5), Ref(2, 2**53)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "working"


def dead(marks: FileMarks, path: Path) -> FileMarks:
    """Open the marks in the next process."""
    marks.abandon()
    return FileMarks(path)


def test_first_process_finds_nothing(path: Path) -> None:
    marks = FileMarks(path)
    assert (marks.unclean, marks.losses) == (False, {})
    assert path.stat().st_mode & 0o777 == 0o600
    marks.close()


def test_orderly_end_is_known_and_counts_nothing(path: Path) -> None:
    marks = FileMarks(path)
    marks.begin(A)
    marks.close()
    marks = FileMarks(path)
    assert (marks.unclean, marks.losses) == (False, {})
    marks.close()


def test_runs_marked_at_the_death_are_counted_and_others_are_not(path: Path) -> None:
    marks = FileMarks(path)
    marks.end(marks.begin(B))
    marks.begin(A)
    marks = dead(marks, path)
    assert (marks.unclean, dict(marks.losses)) == (True, {A: 1})
    # The loss is known until the run has continued, even if the process ends while the run is not evaluated.
    marks.close()
    marks = FileMarks(path)
    assert (marks.unclean, dict(marks.losses)) == (False, {A: 1})
    number = marks.begin(A)
    marks = dead(marks, path)
    assert dict(marks.losses) == {A: 2}
    number = marks.begin(A)
    marks.end(number)
    marks = dead(marks, path)
    assert dict(marks.losses) == {A: 2}
    marks.clear(A)
    marks = dead(marks, path)
    assert dict(marks.losses) == {}
    marks.close()


def test_work_beyond_the_room_of_the_file_is_not_marked(path: Path) -> None:
    marks = FileMarks(path)
    numbers = [marks.begin(Ref(1, id_)) for id_ in range(1, MAX_MARKED_RUNS + 3)]
    assert numbers[-2:] == [-1, -1]
    for number in numbers:
        marks.end(number)
    assert marks.begin(A) >= 0
    marks = dead(marks, path)
    assert dict(marks.losses) == {A: 1}
    marks.close()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"interlock working 1\n".ljust(32, b"\xff"), b"\xff" * 99_999])
def test_damaged_file_is_made_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    marks = FileMarks(path)
    assert marks.losses == {}
    marks.begin(A)
    marks = dead(marks, path)
    assert dict(marks.losses) == {A: 1}
    marks.close()


def test_without_room_for_the_file_nothing_is_marked(tmp_path: Path) -> None:
    marks = FileMarks(tmp_path / "missing" / "working")
    marks.end(marks.begin(A))
    marks.clear(A)
    assert (marks.unclean, marks.losses) == (False, {})
    marks.close()


REFS = st.builds(Ref, st.integers(1, 3), st.integers(1, 4))


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "clear", "die", "close"]), REFS), max_size=40))
def test_losses_are_those_of_a_simple_model(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, Ref]]
) -> None:
    path = tmp_path_factory.mktemp("marks") / "working"
    marks, losses = FileMarks(path), dict[Ref, int]()
    at_work: dict[Ref, int] = {}
    for move, ref in moves:
        match move:
            case "begin" if ref not in at_work:
                at_work[ref] = marks.begin(ref)
            case "end" if ref in at_work:
                marks.end(at_work.pop(ref))
            case "clear" if ref not in at_work:
                marks.clear(ref)
                losses.pop(ref, None)
            case "die":
                marks = dead(marks, path)
                for lost in at_work:
                    losses[lost] = losses.get(lost, 0) + 1
                at_work.clear()
            case "close" if not at_work:
                marks.close()
                marks = FileMarks(path)
        assert dict(marks.losses) == losses
    marks.close()
