"""Wait for the end of an execution, by the server's event stream or by polling."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from interlock.cli.clock import Clock
from interlock.cli.events import events
from interlock.cli.failures import Exit, Failure, Refused, Unreachable
from interlock.cli.http import Api
from interlock.cli.output import STATE_PREFIX, short_state

ENDED = frozenset({"DONE", "ERROR", "TERMINATE"})
"""The terminal states, without their prefix."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SILENCE = 45.0
"""Seconds without a line after which a stream counts as dead: three keep-alive intervals of the server."""
_AWAY = 60.0
"""Seconds for which a server may be unreachable during a wait without a limit: long enough for a restart."""
_NO_STREAM = frozenset({404, 405, 406, 429, 501})
"""Statuses of a server that has no such stream (C1's own), or no free one."""
_PASSES = frozenset({502, 503, 504})

T = TypeVar("T")


def look_until(look: Callable[[], T], is_over: Callable[[T], bool], clock: Clock, seconds: float | None) -> T:
    """Poll until `is_over` or until `seconds` have passed, and return the last result of `look`."""
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
    """Return an execution in C1's view.

    Raises:
        Failure: The execution does not exist, or the server is unreachable.
    """
    found = api.call("GET", f"/api/v1/automation_executions/{ident}").body.get("automationExecution")
    if not isinstance(found, dict):
        raise Failure(f"execution {ident}: the server's answer contains no execution")
    return found


def has_ended(execution: dict[str, Any]) -> bool:
    return short_state(execution.get("state")) in ENDED


def goes_on(ident: str) -> str:
    """Return the message for a user who stops watching an execution."""
    return (
        f"Execution {ident} continues. Follow it: interlock executions watch {ident}; "
        f"stop it: interlock executions terminate {ident}"
    )


def wait_until_ended(
    api: Api,
    clock: Clock,
    ident: str,
    *,
    seconds: float | None,
    waited: float = 0.0,
    saw: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Follow an execution until it has ended, and return it.

    An unreachable server is retried while there is time, or for a minute without a limit.

    Args:
        api: The API of the server.
        clock: Time.
        ident: Id of the execution.
        seconds: Longest wait; None for no limit.
        waited: Seconds of it that have passed before the call.
        saw: Called with the execution at first and after each change.

    Raises:
        Failure: `seconds` have passed (exit code 6), or the execution cannot be read.
    """
    end = float("inf") if seconds is None else clock.monotonic() + seconds - waited
    followed = _Followed(api, clock, ident, end, saw)
    with api.retrying.left_to_the_caller():
        _follow(followed)
    execution = followed.execution
    if not has_ended(execution):
        state = short_state(execution.get("state"))
        if followed.away is not None:
            why = f"it was last seen in {state}, and then: {followed.away.message}"
            raise Failure(f"execution {ident} has not been seen to end within {seconds:g} s: {why}", Exit.TIMEOUT)
        raise Failure(f"execution {ident} is still {state} after {seconds:g} s", Exit.TIMEOUT)
    return execution


def _follow(followed: "_Followed") -> None:
    followed.look()
    while not followed.over:
        try:
            followed.follow()
        except Unreachable as failure:
            followed.lost(failure)
        except Refused as refused:
            if refused.status in _NO_STREAM:
                followed.keep_looking()
                break
            if refused.status not in _PASSES:
                raise
            followed.lost(refused)


@dataclass(slots=True)
class _Followed:
    """An execution that is followed, and its last known state."""

    api: Api
    clock: Clock
    ident: str
    end: float
    saw: Callable[[dict[str, Any]], None]
    execution: dict[str, Any] = field(default_factory=dict)
    away: Failure | None = None
    """Failure of the last request; None if it succeeded."""
    away_since: float = 0.0
    last_event: str = ""

    @property
    def left(self) -> float:
        return self.end - self.clock.monotonic()

    @property
    def over(self) -> bool:
        return has_ended(self.execution) or self.left <= 0

    def look(self) -> dict[str, Any]:
        self._take(read_execution(self.api, self.ident))
        return self.execution

    def follow(self) -> None:
        """Read the stream until it or the execution ends, then read the execution, in case an event was missed."""
        headers = {"Last-Event-ID": self.last_event} if self.last_event else {}
        stream = self.api.lines(f"/interlock/v1/executions/{self.ident}/events", headers, self._patience)
        for event in events(stream):
            change = json.loads(event.data)
            if change["state"] not in ENDED:
                self._take(
                    {
                        **self.execution,
                        "state": f"{STATE_PREFIX}{change['state']}",
                        "updatedAt": change.get("updatedAt"),
                    }
                )
                self.last_event = event.id
            elif has_ended(self.look()):
                return
        self._rest()
        self.look()

    def keep_looking(self) -> None:
        look_until(self.look, has_ended, self.clock, self.left)

    def lost(self, failure: Failure) -> None:
        """Retry after a request failed.

        Raises:
            Failure: The wait has no limit, and the server was unreachable for too long.
        """
        while True:
            now = self.clock.monotonic()
            if self.away is None:
                self.away_since = now
            self.away = failure
            if self.end == float("inf") and now - self.away_since > _AWAY:
                raise failure
            self._rest()
            try:
                self.look()
            except Unreachable as again:
                failure = again
            except Refused as refused:
                if refused.status not in _PASSES:
                    raise
                failure = refused
            else:
                return
            if self.left <= 0:
                return

    def _take(self, execution: dict[str, Any]) -> None:
        self.execution, self.away = execution, None
        self.saw(execution)

    def _patience(self) -> float:
        return min(_SILENCE, self.left)

    def _rest(self) -> None:
        self.clock.sleep(max(0.0, min(_LONGEST_PAUSE, self.left)))


def check_ended(execution: dict[str, Any]) -> None:
    """Check that a run ended in DONE.

    Raises:
        Failure: The run ended in another state.
    """
    state = short_state(execution.get("state"))
    if state != "DONE":
        ident = execution.get("id")
        raise Failure(
            f"execution {ident} ended in {state}", hint=f"Show the receipt: interlock executions receipt {ident}"
        )
