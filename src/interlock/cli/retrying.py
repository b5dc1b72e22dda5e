"""Retry requests to a server that is busy or restarting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from interlock.cli.clock import Clock
from interlock.cli.failures import Failure, Refused, Unreachable

RETRY_SECONDS = 30.0
"""Seconds for which a command retries while a server is busy."""
STOP_RETRY_SECONDS = 120.0
"""Seconds for which a terminate command retries, also through restarts."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_BUSY = frozenset({429, 503})
_GATEWAY = frozenset({502, 504})

T = TypeVar("T")


@dataclass(slots=True)
class Retrying:
    """How long a command retries, and its messages during the retries."""

    clock: Clock
    tell: Callable[[str], None]
    seconds: float = RETRY_SECONDS
    urgent: bool = False
    """Whether an unreachable server is retried as well: it may be restarting, and a terminate must get through."""
    purpose: str = ""
    """What has not been done yet, for the message during the retries."""

    def keep_trying(self, purpose: str, seconds: float = STOP_RETRY_SECONDS) -> None:
        """Retry every failure that may be temporary; `purpose` says what has not been done yet."""
        self.urgent, self.purpose, self.seconds = True, purpose, seconds

    @contextmanager
    def left_to_the_caller(self) -> Iterator[None]:
        """Disable retries while a caller retries by itself."""
        kept, self.seconds = self.seconds, 0.0
        try:
            yield
        finally:
            self.seconds = kept

    def call(self, attempt: Callable[[], T], *, repeatable: bool) -> T:
        """Call `attempt`, retry temporary failures within the time, and return its result.

        Raises:
            Failure: The last failure, when it is permanent or the time has passed.
        """
        end, pause = self.clock.monotonic() + self.seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except (Refused, Unreachable) as failure:
                left = end - self.clock.monotonic()
                if left <= 0 or not self._may_pass(failure, repeatable=repeatable):
                    raise
                wanted = failure.retry_after if isinstance(failure, Refused) else None
                if wanted is not None and wanted > left and not self.urgent:
                    failure.hint = failure.hint or f"Retry after {wanted:.0f} s (the server's Retry-After)."
                    raise
                delay = min(left, pause if wanted is None else max(wanted, _FIRST_PAUSE_SECONDS))
                self._say(failure, delay, left)
            self.clock.sleep(delay)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _may_pass(self, failure: Refused | Unreachable, *, repeatable: bool) -> bool:
        if isinstance(failure, Unreachable):
            return self.urgent and failure.transient and (repeatable or not failure.sent)
        if failure.status == 429:
            return True
        if failure.status in _BUSY:
            return repeatable or failure.before
        return self.urgent and failure.status in _GATEWAY and repeatable

    def _say(self, failure: Failure, delay: float, left: float) -> None:
        purpose = f" {self.purpose}." if self.purpose else ""
        self.tell(
            f"{failure.message}.{purpose} Retrying in {max(delay, 0.1):.1f} s, for at most {left:.0f} s; Ctrl-C stops."
        )
