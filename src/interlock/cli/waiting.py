"""Waiting for something to end, by looking at it again and again."""

from collections.abc import Callable
from typing import Any, TypeVar

from interlock.cli.clock import Clock
from interlock.cli.failures import Exit, Failure
from interlock.cli.http import Api
from interlock.cli.output import short_state

ENDED = frozenset({"DONE", "ERROR", "TERMINATE"})
"""The states that no execution leaves, without their prefix."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


T = TypeVar("T")


def look_until(look: Callable[[], T], is_over: Callable[[T], bool], clock: Clock, seconds: float | None) -> T:
    """What `look` gave last: what is over, or, after so many seconds, what is not."""
    end = float("inf") if seconds is None else clock.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        found = look()
        now = clock.monotonic()
        if is_over(found) or now >= end:
            return found
        clock.sleep(min(pause, end - now))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def read_execution(api: Api, ident: str) -> dict[str, Any]:
    """One execution, as C1's view shows it.

    Raises:
        Failure: it is not there, or the server is not.
    """
    found = api.call("GET", f"/api/v1/automation_executions/{ident}").body.get("automationExecution")
    if not isinstance(found, dict):
        raise Failure(f"execution {ident}: the server's answer holds none")
    return found


def has_ended(execution: dict[str, Any]) -> bool:
    return short_state(execution.get("state")) in ENDED


def wait_until_ended(
    api: Api,
    clock: Clock,
    ident: str,
    *,
    seconds: float | None,
    saw: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Look at an execution until it has ended, and return it. `saw` is told of each look.

    Raises:
        Failure: `seconds` have passed (exit code 6), or it cannot be read.
    """

    def look() -> dict[str, Any]:
        execution = read_execution(api, ident)
        saw(execution)
        return execution

    execution = look_until(look, has_ended, clock, seconds)
    if not has_ended(execution):
        state = short_state(execution.get("state"))
        raise Failure(f"execution {ident} is still {state} after {seconds:g} s", Exit.TIMEOUT)
    return execution


def check_ended(execution: dict[str, Any]) -> None:
    """Pass over a run that ended in DONE.

    Raises:
        Failure: it ended otherwise.
    """
    state = short_state(execution.get("state"))
    if state != "DONE":
        raise Failure(f"execution {execution.get('id')} ended in {state}")
