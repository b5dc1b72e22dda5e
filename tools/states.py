"""Writes the page about the states of a run from the table of moves: python -m tools.states"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from interlock.rules.states import TERMINAL, TRANSITIONS, State

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "states.md"

MEANING: Final = {
    State.PENDING: "Recorded, and ready for a free slot to take it on; also between two steps when there was none.",
    State.PROCESS_STEP: "An attempt at a step has been announced and is in flight.",
    State.WAITING: "Nothing is in flight: a time, a retry, a callback or a person must come first.",
    State.PAUSED_BY_CIRCUIT_BREAKER: "Held back when it was created; no step has run.",
    State.STOPPING: "A termination is accepted, and the attempt in flight has not settled. C1's API, which has no such "
    "state, shows `PROCESS_STEP`; `/interlock/v1/executions/{id}` shows it by its name.",
    State.DONE: "All steps are over. Final.",
    State.ERROR: "A step failed for good. Final.",
    State.TERMINATE: "Somebody stopped it. Final.",
}

HEAD: Final = """\
# The states of a run

Made from the table of moves in the source by `python -m tools.states`. One test holds the two together, and another one
the table and what the rules do.

C1's names are prefixed with `AUTOMATION_EXECUTION_STATE_` on the wire. `CREATING`, `GET_STEP` and `COMPLETE_STEP` are
passed through within one commit, so nobody ever sees a run rest in them.

| state | what it means |
|---|---|
"""

STOP: Final = """
## How a stop moves it

| found in | when the 200 is sent it is | and then |
|---|---|---|
| `PENDING`, `WAITING`, `PAUSED_BY_CIRCUIT_BREAKER` | `TERMINATE` | nothing further |
| `PROCESS_STEP` | `STOPPING` | `TERMINATE` as soon as the attempt has settled, at the deadline at the latest |
| `STOPPING` | `STOPPING`; a nearer deadline or a sharper mode counts | as above |
| `DONE`, `ERROR`, `TERMINATE` | what it was | nothing further |
"""


def page() -> str:
    """The page as it has to be."""
    rows = "".join(f"| `{state}` | {MEANING[state]} |\n" for state in State)
    moves = "".join(
        f"    {'[*]' if state is None else state} --> {to}\n"
        for state, targets in TRANSITIONS.items()
        for to in State
        if to in targets and to is not state
    )
    ends = "".join(f"    {state} --> [*]\n" for state in State if state in TERMINAL)
    stays = ", ".join(f"`{state}`" for state in State if state in TRANSITIONS[state])
    return (
        f"{HEAD}{rows}\n## Every move there is\n\n```mermaid\nstateDiagram-v2\n{moves}{ends}```\n\n"
        f"{stays} may also be entered anew, for another step or another attempt.\n"
        "There is no other move: one function makes them all, and each UPDATE repeats the state it was decided on.\n"
        f"{STOP}"
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
