"""Asking again a server that has no room at the moment, or is being restarted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from interlock.cli.clock import Clock
from interlock.cli.failures import Failure, Refused, Unreachable

RETRY_SECONDS = 30.0
"""Seconds for which a command asks again when a server says that it has no room."""
STOP_RETRY_SECONDS = 120.0
"""Seconds for which a command that stops something asks again, through restarts as well."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_BUSY = frozenset({429, 503})
_GATEWAY = frozenset({502, 504})

T = TypeVar("T")


@dataclass(slots=True)
class Retrying:
    """How long a command keeps asking, and what it says meanwhile."""

    clock: Clock
    tell: Callable[[str], None]
    seconds: float = RETRY_SECONDS
    urgent: bool = False
    """A server that cannot be reached is asked again too: it may be restarting, and a stop must get through."""
    purpose: str = ""
    """What has not been done yet while the command keeps asking, for the message."""

    def keep_trying(self, purpose: str, seconds: float = STOP_RETRY_SECONDS) -> None:
        """Ask again through everything that may pass; `purpose` says what has not been done until then."""
        self.urgent, self.purpose, self.seconds = True, purpose, seconds

    @contextmanager
    def left_to_the_caller(self) -> Iterator[None]:
        """Tell of a failure at once while a caller waits for the server in its own way."""
        kept, self.seconds = self.seconds, 0.0
        try:
            yield
        finally:
            self.seconds = kept

    def call(self, attempt: Callable[[], T], *, repeatable: bool) -> T:
        """Return what the attempt returns; make it again, within the time, after a failure that may pass.

        Raises:
            Failure: the last one, once the time is over or the failure is one that stays.
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
                    failure.hint = failure.hint or f"The server asks to be left alone for {wanted:.0f} s."
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
            f"{failure.message}.{purpose} Trying again in {max(delay, 0.1):.1f} s, for {left:.0f} s more at most; "
            "Ctrl-C gives up."
        )
