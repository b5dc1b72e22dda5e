"""The slot of a run while `advance` works on it, and the results that `advance` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from interlock.engine.turns import Turns
from interlock.rules.model import Ref
from interlock.rules.values import value


@value(frozen=True, slots=True)
class Claim:
    """A run to advance. `lost`: its previous holder no longer exists, so its attempt in flight has no holder."""

    ref: Ref
    lost: bool = False


@value(frozen=True, slots=True)
class Finished:
    """Nothing is left to do until another event changes the run."""


@value(frozen=True, slots=True)
class Again:
    """The run has to be advanced again at this time (microseconds)."""

    at: int


@value(frozen=True, slots=True)
class Waits:
    """The run is ready, and its next call, which is not announced, waits until its host has a slot."""

    host: str


@value(frozen=True, slots=True)
class Superseded:
    """The run has moved, or another node holds it: leave it alone. The commit that moved it notified its dispatcher."""


Turn = Finished | Again | Waits | Superseded

FINISHED: Final = Finished()
SUPERSEDED: Final = Superseded()


class Held:
    """A slot and the run in it. It exists before the commit that announces the attempt, so it misses no interrupt.

    An interrupt cancels only the performance of an attempt that was announced with a lower epoch. It never cancels
    `advance` itself, which has to record the outcome of the attempt.
    """

    __slots__ = (
        "_cutting",
        "_turns",
        "cautious",
        "closing",
        "cut",
        "evaluating",
        "host",
        "performing",
        "ready_notifications",
        "ref",
        "stopped",
        "task",
    )

    def __init__(self, ref: Ref, turns: Turns | None = None, host: str | None = None) -> None:
        self.ref = ref
        self._turns = turns
        self.host = host
        """The host that the run calls, or is about to call."""
        self.task: asyncio.Task[None] | None = None
        """The task that advances the run; the dispatcher sets it before anything is performed."""
        self.ready_notifications = 0
        """Notifications that the run is ready, without those that the task has acted on. If some are left when the
        task ends, the run is queued again."""
        self.cut = 0
        """The greatest epoch of all interrupts."""
        self.performing = 0
        """The epoch of the attempt that is performed; 0 if there is none."""
        self.closing = False
        """Whether the server is stopping: record the attempt in flight, and announce no other."""
        self.stopped = False
        """Whether a termination of the run was accepted, so that the next step need not be evaluated."""
        self.evaluating = False
        """Whether the next step is evaluated or an accepted attempt is polled, from setting this to calling `end`."""
        self.cautious: Callable[[], None] | None = None
        """Called when an attempt begins, which proves that the evaluation did not crash the server. Set only for a run
        with losses, whose settled attempts are recorded before the next step is evaluated."""
        self._cutting = False

    def may_call(self, host: str | None) -> bool:
        """Return whether the next call may be announced now; if not, the run gives its slot back and waits."""
        if self._turns is None:
            return True
        if not self._turns.move(self.ref.tenant, self.host, host):
            return False
        self.host = host
        return True

    def interrupt(self, epoch: int) -> None:
        """Cancel the attempt that was announced with a lower epoch, or prevent that it begins."""
        self.cut = max(self.cut, epoch)
        if 0 < self.performing < epoch and not self._cutting and self.task is not None:
            self._cutting = True
            self.task.cancel()

    def stop(self) -> None:
        """Cancel the evaluation of the next step, or a poll, because a termination of the run was accepted.

        The performance of an attempt continues unless `interrupt` cancels it.
        """
        self.stopped = True
        if self.evaluating and not self._cutting and self.task is not None:
            self._cutting = True
            self.task.cancel()

    def is_stopped(self) -> bool:
        """Return whether a termination of the run was accepted."""
        return self.stopped

    def begin(self, epoch: int) -> bool:
        """Mark the start of an attempt. Returns False if an interrupt has cancelled it, so that it must not start."""
        if self.cut > epoch:
            return False
        self.performing = epoch
        if self.cautious is not None:
            self.cautious()
        return True

    def end(self) -> bool:
        """Mark the end of an attempt or an evaluation. Call it however that ended.

        Returns:
            True if it ended by a cancellation of this slot, which is now consumed. Otherwise the caller has to raise a
            `CancelledError` again.
        """
        self.performing = 0
        self.evaluating = False
        if not self._cutting:
            return False
        self._cutting = False
        return self.task is not None and self.task.uncancel() == 0
