"""Runs tests against mutants: one forked process each, over modules that are loaded and tests that are collected.

A mutant of a function puts other code into the function that is there, so every reference to it has the mutant. A
mutant of what runs at an import needs a process that has not imported it yet. A test that never calls the changed
function cannot notice, and is not run; of the others the quickest come first, and the first that fails is enough.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib.machinery import ModuleSpec
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import pytest

from interlock.store.statements import Statement
from tools.mutants.operators import Mutant, function_code
from tools.mutants.scope import ROOT, Subject, path_of
from tools.mutants.statements import AnyMutant, StatementMutant

GRACE: Final = 6.0
"""Seconds that a mutant has beside ten times what its tests take without it, and half of that on a processor."""
LONGEST: Final = 60.0
AT_IMPORT: Final = 120.0
"""Seconds for a mutant that needs a collection of its own."""
MEMORY: Final = 4 * 1024**3
"""Bytes of address space: a loop that only allocates must not take the machine with it."""
SLOW: Final = {"test_lifetimes": 2.0, "test_exploration": 5.0}
"""Files with tests that take so many seconds: they come last where nothing has been measured yet."""


SURVIVED: Final = "survived"
"""What a child says if no test noticed."""


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A mutant's fate, and the test that noticed it, if one did."""

    mutant: AnyMutant
    fate: Fate
    test: str = ""


@dataclass(slots=True)
class Baseline:
    """What the tests do without any mutant: how long each takes, in seconds, and which functions it calls."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, set[str] | None] = field(default_factory=dict)
    """None: it takes too long to be watched, and may call any."""


# --- processes --------------------------------------------------------------------------------------------------------

Job = tuple[AnyMutant, Callable[[], str], float]
"""A mutant; what a child does: it returns the test that noticed, or nothing; and the seconds that it has."""


def run_all(jobs: Iterable[Job], at_once: int) -> Iterator[Verdict]:
    """Each job in a child of its own, so many at once."""
    waiting = iter(jobs)
    running: dict[int, tuple[int, float, AnyMutant]] = {}
    while True:
        while len(running) < at_once and (job := next(waiting, None)) is not None:
            mutant, work, seconds = job
            reading, pid = _fork(work, seconds)
            running[reading] = (pid, time.monotonic() + seconds, mutant)
        if not running:
            return
        ready, _, _ = select.select(list(running), [], [], 0.2)
        for reading, (pid, until, mutant) in list(running.items()):
            if reading in ready:
                said = _read(reading)
                # Who says nothing has used up the processor time that it had.
                fate = Fate.SURVIVED if said == SURVIVED else Fate.KILLED if said else Fate.TIMEOUT
            elif time.monotonic() > until:
                os.close(reading)
                said, fate = "", Fate.TIMEOUT
            else:
                continue
            del running[reading]
            _end(pid)
            yield Verdict(mutant, fate, said)


def _read(reading: int) -> str:
    with os.fdopen(reading) as pipe:
        return pipe.read()


def _result_of(work: Callable[[], str]) -> str:
    """What a child says that does this."""
    reading, pid = _fork(work)
    said = _read(reading)
    _end(pid)
    return said


def _fork(work: Callable[[], str], seconds: float = 600) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return reading, pid
    os.close(reading)
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    at_work = round(seconds / 2)
    resource.setrlimit(resource.RLIMIT_CPU, (at_work, at_work))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    said = "broken"
    try:
        said = work() or SURVIVED
    finally:
        with os.fdopen(writing, "w") as pipe:
            pipe.write(said)
        os._exit(0)


def _end(pid: int) -> None:
    """The child, and whatever it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)


# --- mutants of functions ---------------------------------------------------------------------------------------------


class Attack:
    """A pytest plugin that runs mutants instead of the tests: those of imports before anything is collected, and so
    before anybody has imported what they change; those of functions afterwards."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        mutants: Sequence[AnyMutant],
        at_once: int,
        longest: float,
    ) -> None:
        self._subjects = {subject.module: subject for subject in subjects}
        self._mutants = mutants
        self._at_once = at_once
        self._longest = longest
        """Seconds; tests that take longer are left out."""
        self.told: Callable[[Verdict], None] = lambda verdict: None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        at_import = [mutant for mutant in self._mutants if isinstance(mutant, Mutant) and not mutant.function]
        for rooms in {self._subjects[mutant.module].rooms for mutant in at_import}:
            said = _result_of(partial(_collect_and_run, session, rooms, self._longest))
            if said != SURVIVED:
                raise RuntimeError(f"without any mutant, this fails: {said}")
        jobs = ((mutant, self._importing(session, mutant), AT_IMPORT) for mutant in at_import)
        for verdict in run_all(jobs, self._at_once):
            self.told(verdict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        mutants = [mutant for mutant in self._mutants if mutant.function]
        if mutants:
            baseline = _baseline(session, self._subjects.values(), self._longest)
            for verdict in run_all(self._jobs(session, mutants, baseline), self._at_once):
                self.told(verdict)
        return True

    def _importing(self, session: pytest.Session, mutant: Mutant) -> Callable[[], str]:
        subject = self._subjects[mutant.module]
        changed = _Changed(mutant, subject.path)

        def work() -> str:
            sys.meta_path.insert(0, changed)
            return _collect_and_run(session, subject.rooms, self._longest)

        return work

    def _jobs(self, session: pytest.Session, mutants: Sequence[AnyMutant], baseline: Baseline) -> Iterator[Job]:
        items = {item.nodeid: item for item in session.items}
        for mutant in mutants:
            subject = self._subjects[mutant.module]
            # Of a statement it is only known which module carries it out.
            names = f"{subject.by}:" if subject.by else f"{mutant.module}:{mutant.function}"
            same = str.startswith if subject.by else str.__eq__
            calling = [
                test
                for test, calls in baseline.calls.items()
                if calls is None or any(same(name, names) for name in calls)
            ]
            chosen = [test for test in calling if test.startswith(subject.rooms)]
            chosen = [test for test in chosen if baseline.seconds[test] <= self._longest]
            chosen.sort(key=lambda test: baseline.seconds[test])
            seconds = min(GRACE + 10 * sum(baseline.seconds[test] for test in chosen), LONGEST)
            yield mutant, _attack(mutant, [items[test] for test in chosen]), seconds


def _attack(mutant: AnyMutant, items: list[pytest.Item]) -> Callable[[], str]:
    if isinstance(mutant, StatementMutant):

        def change() -> str:
            _replace_statement(mutant.function, mutant.text)
            return _first_failing(items)

        return change
    code = function_code(mutant.code(), mutant.function)

    def work() -> str:
        _function(importlib.import_module(mutant.module), mutant.function).__code__ = code
        return _first_failing(items)

    return work


def _replace_statement(name: str, text: str) -> None:
    """In every module of the store that has taken the statement, in whichever order of its parameters."""
    for module in [module for key, module in sys.modules.items() if key.startswith("interlock.store.")]:
        taken: dict[Any, Any] = vars(module)
        for holder in [taken, *(kept for kept in taken.values() if isinstance(kept, dict))]:
            for key, kept in list(holder.items()):
                if isinstance(kept, Statement) and kept.name == name:
                    holder[key] = Statement.of(name, text, kept.dialect, kept.parameters)


def _function(module: ModuleType, name: str) -> FunctionType:
    """The function of that qualified name; of a property, the one that gets it."""
    owner: Any = module
    for part in name.split("."):
        owner = vars(owner)[part]
    found = owner.fget if isinstance(owner, property) else getattr(owner, "__func__", owner)
    assert isinstance(found, FunctionType), name
    return found


class _Failures:
    """A pytest plugin that remembers the first test that failed."""

    first = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.first:
            self.first = report.nodeid


def _first_failing(items: Sequence[pytest.Item]) -> str:
    failures = _Failures()
    for plugins in {item.config.pluginmanager for item in items}:
        plugins.register(failures)
        if plugins.has_plugin("terminalreporter"):
            plugins.unregister(name="terminalreporter")
    for item, following in zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.first:
            break
    return failures.first


def _baseline(session: pytest.Session, subjects: Iterable[Subject], longest: float) -> Baseline:
    """Run every test once, in a child, and note which functions of the subjects it calls.

    Raises:
        RuntimeError: a test fails without any mutant.
    """
    modules = {str(path_of(name)): name for name in {subject.by or subject.module for subject in subjects}}
    items = [item for item in session.items if SLOW.get(item.path.stem, 0) <= longest]
    found = json.loads(_result_of(lambda: json.dumps(_observe(items, modules))))
    if isinstance(found, str):
        raise RuntimeError(f"without any mutant, this fails: {found}")
    baseline = Baseline()
    for test, (seconds, calls) in found.items():
        baseline.seconds[test] = seconds
        baseline.calls[test] = None if calls is None else set(calls)
    return baseline


def _observe(items: Sequence[pytest.Item], modules: dict[str, str]) -> dict[str, tuple[float, list[str] | None]] | str:
    """For each test its seconds and the functions it calls; or the name of one that fails."""
    seen: set[str] = set()
    known: dict[CodeType, str | None] = {}

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            code = frame.f_code
            if code not in known:
                module = modules.get(code.co_filename)
                known[code] = f"{module}:{code.co_qualname.split('.<locals>')[0]}" if module else None
            if (name := known[code]) is not None:
                seen.add(name)

    found: dict[str, tuple[float, list[str] | None]] = {}
    for item in items:
        watched = item.path.stem not in SLOW
        seen.clear()
        began = time.monotonic()
        sys.setprofile(called if watched else None)
        failed = _first_failing([item])
        sys.setprofile(None)
        if failed:
            return failed
        found[item.nodeid] = (time.monotonic() - began, sorted(seen) if watched else None)
    return found


# --- mutants of what runs at an import --------------------------------------------------------------------------------


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant to every import of its module."""

    def __init__(self, mutant: Mutant, path: Path) -> None:
        self._module = mutant.module
        self._code = mutant.code()
        self._path = path

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self._path))

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, vars(module))


def _collect_and_run(session: pytest.Session, rooms: Sequence[str], longest: float) -> str:
    files = [path for room in rooms for path in sorted((ROOT / room).glob("test_*.py"))]
    chosen = sorted((path for path in files if SLOW.get(path.stem, 0) <= longest), key=lambda path: path.stem in SLOW)
    try:
        items = session.perform_collect([str(path) for path in chosen])
    except (pytest.UsageError, session.Interrupted):
        return "the import"
    if session.testsfailed:
        return "the import"
    return _first_failing(list(items))


def options() -> list[str]:
    """How pytest is called: nothing is written, nothing is shown."""
    loaded = "ignore::pytest.PytestAssertRewriteWarning"  # plugins that `warm_up` has loaded
    return ["-q", "-W", loaded, "-p", "no:cacheprovider", "--rootdir", str(ROOT)]


def warm_up() -> None:
    """Import the expensive modules that are never mutated, before the first fork."""
    for name in (
        "anyio",
        "apsw",
        "hypothesis.stateful",
        "uvloop",
        "pydantic",
        "cel_expr_python",
        "schemathesis.pytest.plugin",
    ):
        importlib.import_module(name)
