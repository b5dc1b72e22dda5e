"""What is changed, and which tests have to notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent


def path_of(module: str, suffix: str = ".py") -> Path:
    """Where the source of a module is."""
    return ROOT / "src" / Path(*module.split(".")).with_suffix(suffix)


@dataclass(frozen=True, slots=True)
class Subject:
    """A module whose mutants the tests in `rooms` have to kill."""

    module: str
    rooms: tuple[str, ...]
    functions: tuple[str, ...] = ()
    """Qualified names, or names of statements; empty: all of the module."""
    by: str = ""
    """For a file of SQL: the module whose tests are those of its statements."""

    @property
    def path(self) -> Path:
        return path_of(self.module, ".sql" if self.by else ".py")

    @property
    def name(self) -> str:
        return self.module.removeprefix("interlock.")


RULES: Final = ("tests/rules",)
ENGINE: Final = ("tests/engine",)
STORE: Final = ("tests/store",)
TRIGGERS: Final = ("tests/triggers",)

TERMINATE_PATHS: Final = (
    "Advance.advance Advance.carry Advance.recover Advance.give_up Advance.overdue Advance._refuse"
    " Advance._recovered Advance._may_repeat"
)
DISPATCHING: Final = (
    "interrupt ready try_slot took recover run take_no_more drain _come_due _look_at_deadline"
    " _spawn _turn _after_crash _cancel_all"
)
GUARDED_WRITES: Final = "execution_move execution_step"

SUBJECTS: Final = (
    *(
        Subject(f"interlock.rules.{name}", RULES)
        for name in (
            "admit",
            "breaker",
            "callbacks",
            "changes",
            "children",
            "decide",
            "decision",
            "events",
            "follow",
            "model",
            "outcomes",
            "retry",
            "states",
            "stop",
            "subject",
        )
    ),
    Subject("interlock.engine.held", ENGINE),
    Subject("interlock.engine.advance", ENGINE, tuple(TERMINATE_PATHS.split())),
    *(Subject(f"interlock.engine.{name}", ENGINE) for name in ("items", "attempts", "following", "commits", "polls")),
    Subject(
        "interlock.engine.dispatchers.embedded",
        ENGINE,
        tuple(f"EmbeddedDispatcher.{name}" for name in DISPATCHING.split()),
    ),
    *(
        Subject(f"interlock.store.{name}", STORE)
        for name in ("tx", "sqlite.appliers", "sqlite.mutations", "sqlite.stops", "sqlite.tx")
    ),
    Subject("interlock.triggers.registry", TRIGGERS),
    Subject("interlock.store.sql.sqlite.terminations", STORE, by="interlock.store.sqlite.stops"),
    Subject(
        "interlock.store.sql.common.executions",
        STORE,
        tuple(GUARDED_WRITES.split()),
        by="interlock.store.sqlite.executions",
    ),
)
