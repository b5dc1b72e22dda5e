"""Generate docs/states.md from the table of transitions: python -m tools.states"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from interlock.rules.states import TERMINAL, TRANSITIONS, State

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "states.md"

MEANING: Final = {
    State.PENDING: "Recorded, and waiting for a free slot; also between two steps if no slot was free.",
    State.PROCESS_STEP: "An attempt at a step has been announced and is in flight.",
    State.WAITING: "Nothing is in flight: the run waits for a time, a retry, a callback, a task or a poll.",
    State.PAUSED_BY_CIRCUIT_BREAKER: "Paused by the circuit breaker when it was created; no step has run.",
    State.STOPPING: "A termination is accepted, and the attempt in flight has not settled. C1's API, which has no such "
    "state, shows `PROCESS_STEP`; `/interlock/v1/executions/{id}` shows it by its name.",
    State.DONE: "All steps are complete. Terminal.",
    State.ERROR: "A step failed finally. Terminal.",
    State.TERMINATE: "The run was terminated. Terminal.",
}

HEAD: Final = """\
# The states of a run

`python -m tools.states` generates this page from the table of transitions in the source. One test compares the page
with the table, and another test compares the table with the rules.

On the wire, C1's names have the prefix `AUTOMATION_EXECUTION_STATE_`. A run passes through `CREATING`, `GET_STEP` and
`COMPLETE_STEP` within one commit, so no client sees them.

| state | meaning |
|---|---|
"""

STOP: Final = """
## Effect of a terminate

| state before | state when the 200 is sent | afterwards |
|---|---|---|
| `PENDING`, `WAITING`, `PAUSED_BY_CIRCUIT_BREAKER` | `TERMINATE` | no change |
| `PROCESS_STEP` | `STOPPING` | `TERMINATE` when the attempt has settled, at the deadline at the latest |
| `STOPPING` | `STOPPING`; an earlier deadline, or `interrupt` after `drain`, takes effect | as above |
| `DONE`, `ERROR`, `TERMINATE` | unchanged | no change |
"""


def page() -> str:
    """Return the text of the page."""
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
        f"{HEAD}{rows}\n## Transitions\n\n```mermaid\nstateDiagram-v2\n{moves}{ends}```\n\n"
        f"A run in {stays} may enter the same state again, for another step or another attempt.\n"
        "There is no other transition: one function decides them all, and each UPDATE is guarded by the state that "
        "it was decided on.\n"
        f"{STOP}"
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
