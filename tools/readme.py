"""Writes the table of the README that says what runs today, from the registries: python -m tools.readme"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from interlock.assembly.step_kinds import RELEASED
from interlock.contract.steps import STEP_KINDS
from interlock.contract.triggers import LEGACY_TRIGGER_KINDS, TRIGGER_KINDS
from interlock.triggers import registry as triggers_registry

PAGE: Final = Path(__file__).resolve().parent.parent / "README.md"
BEGIN: Final = "<!-- what runs: written by python -m tools.readme -->\n"
END: Final = "<!-- /what runs -->\n"
ON_DEMAND: Final = "on demand (no trigger, or `manual`)"


def running() -> tuple[list[str], list[str]]:
    """The kinds of steps and of triggers that run."""
    return [kind for kind in STEP_KINDS if kind in _RELEASED], [kind for kind in _TRIGGERS if kind in _RUNNABLE]


def refused() -> tuple[list[str], list[str]]:
    """The kinds of steps and of triggers that are refused when an automation is published."""
    steps, triggers = running()
    return [kind for kind in STEP_KINDS if kind not in steps], [kind for kind in _TRIGGERS if kind not in triggers]


def table() -> str:
    """The part of the README between the markers."""
    (steps, triggers), (no_steps, no_triggers) = running(), refused()
    on_demand = [ON_DEMAND, *(f"`{kind}`" for kind in triggers if kind != "manual")]
    return (
        f"{BEGIN}"
        f"| | runs today ({len(steps)} of {len(STEP_KINDS)} steps, {len(triggers)} of {len(_TRIGGERS)} triggers) "
        "| refused at publish, kept in drafts |\n"
        "|---|---|---|\n"
        f"| steps | {_named(steps)} | {_named(no_steps)} |\n"
        f"| triggers | {', '.join(on_demand)} | {_named(no_triggers)} |\n"
        f"{END}"
    )


def page(text: str) -> str:
    """The README with the table as it has to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{table()}{after}"


def _named(kinds: Iterable[str]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds)


_RELEASED: Final = frozenset(step.kind for step in RELEASED)
_RUNNABLE: Final = frozenset(kind.name for kind in triggers_registry.RELEASED)
_TRIGGERS: Final = (*TRIGGER_KINDS, *LEGACY_TRIGGER_KINDS)


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
