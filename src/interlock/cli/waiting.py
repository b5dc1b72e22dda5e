"""Waiting for something to end: told by the server's stream of events, or by looking again and again."""

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
"""The states that no execution leaves, without their prefix."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SILENCE = 45.0
"""Seconds without a line after which a stream is taken for dead: three of the server's signs of life."""
_AWAY = 60.0
"""Seconds for which a server may be away while it is waited for without a limit: long enough for a restart."""
_NO_STREAM = frozenset({404, 405, 406, 429, 501})
"""What a server says that has no such stream (C1's own), or none to spare."""
_PASSES = frozenset({502, 503, 504})

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


def goes_on(ident: str) -> str:
    """What to tell a person who stops watching an execution."""
    return (
        f"Execution {ident} goes on. Follow it: interlock executions watch {ident}; "
        f"stop it: interlock executions terminate {ident}"
    )


def wait_until_ended(
    api: Api,
    clock: Clock,
    ident: str,
    *,
    seconds: float | None,
    saw: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Follow an execution until it has ended, and return it. `saw` is told how it stands at first and of each change.

    A server that goes away meanwhile is waited for: for as long as there is time, or for a minute if there is no limit.

    Raises:
        Failure: `seconds` have passed (exit code 6), or it cannot be read.
    """
    end = float("inf") if seconds is None else clock.monotonic() + seconds
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
    """An execution, and what is known of it so far."""

    api: Api
    clock: Clock
    ident: str
    end: float
    saw: Callable[[dict[str, Any]], None]
    execution: dict[str, Any] = field(default_factory=dict)
    away: Failure | None = None
    """Why the server could not be asked when it last was."""
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
        """Take in what the stream tells, until it or the execution ends, and then look: what was missed shows there."""
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
        """The server could not be asked: wait a moment, and look.

        Raises:
            Failure: there is no limit to the waiting, and it has been away for too long.
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
    """Pass over a run that ended in DONE.

    Raises:
        Failure: it ended otherwise.
    """
    state = short_state(execution.get("state"))
    if state != "DONE":
        ident = execution.get("id")
        raise Failure(f"execution {ident} ended in {state}", hint=f"See why: interlock executions receipt {ident}")
