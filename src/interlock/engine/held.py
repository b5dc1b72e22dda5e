"""What a dispatcher holds of a run while it is being carried on, and what `advance` answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from interlock.engine.turns import Turns
from interlock.rules.model import Ref


@dataclass(frozen=True, slots=True)
class Claim:
    """A run to carry on. `lost`: its previous holder is known to be dead, so what is in flight is in nobody's hands."""

    ref: Ref
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to do, until something else happens to the run."""


@dataclass(frozen=True, slots=True)
class Again:
    """Look at it again at this time (microseconds)."""

    at: int


@dataclass(frozen=True, slots=True)
class Waits:
    """It is ready, and its next call has to wait until the host has a slot for it. Nothing of it is announced."""

    host: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """It moved meanwhile, or somebody else holds it: touch nothing. Whoever moved it has said that it is ready."""


Turn = Finished | Again | Waits | Superseded

FINISHED: Final = Finished()
SUPERSEDED: Final = Superseded()


class Held:
    """A slot, and the run in it. It exists before the announcement that it is for is committed, so no stop can slip by.

    An interrupt cuts a perform that was announced with a lower epoch than the interrupt's, and nothing else: never
    `advance` itself, which still has to record what became of the attempt.
    """

    __slots__ = (
        "_cutting",
        "_turns",
        "cautious",
        "closing",
        "cut",
        "evaluating",
        "host",
        "noted",
        "performing",
        "ref",
        "stopped",
        "task",
    )

    def __init__(self, ref: Ref, turns: Turns | None = None, host: str | None = None) -> None:
        self.ref = ref
        self._turns = turns
        self.host = host
        """The host that it calls, or is about to call."""
        self.task: asyncio.Task[None] | None = None
        """The task that carries it on; whoever holds the slot sets it before anything is performed."""
        self.noted = 0
        """How often the run was said to be ready since the present turn began: more than its own doing, and there is
        another turn."""
        self.cut = 0
        """The greatest epoch an interrupt has named."""
        self.performing = 0
        """The epoch of the attempt under way, or 0."""
        self.closing = False
        """The server is stopping: record the attempt in flight, and announce no other."""
        self.stopped = False
        """A termination of the run was accepted: what would follow need not be evaluated."""
        self.evaluating = False
        """What follows is being evaluated. `end` ends that too."""
        self.cautious: Callable[[], None] | None = None
        """Set for a run with losses, whose settled attempts are recorded before what follows them is evaluated. Called
        when an attempt at it begins: until then it was survived."""
        self._cutting = False

    def may_call(self, host: str | None) -> bool:
        """Whether its next call may be announced now. False: it has to wait for its turn, without a slot."""
        if self._turns is None:
            return True
        if not self._turns.move(self.ref.tenant, self.host, host):
            return False
        self.host = host
        return True

    def interrupt(self, epoch: int) -> None:
        """Cut what was announced with a lower epoch, now or when it would begin."""
        self.cut = max(self.cut, epoch)
        if 0 < self.performing < epoch and not self._cutting and self.task is not None:
            self._cutting = True
            self.task.cancel()

    def stop(self) -> None:
        """A termination of the run was accepted: give up on evaluating what would follow. A perform goes on, unless it
        is interrupted."""
        self.stopped = True
        if self.evaluating and not self._cutting and self.task is not None:
            self._cutting = True
            self.task.cancel()

    def is_stopped(self) -> bool:
        """Whether a termination of the run was accepted."""
        return self.stopped

    def begin(self, epoch: int) -> bool:
        """Before a perform. False: it has been cut already, so that it must not begin."""
        if self.cut > epoch:
            return False
        self.performing = epoch
        if self.cautious is not None:
            self.cautious()
        return True

    def end(self) -> bool:
        """After a perform or an evaluation, however it ended.

        True: a cancellation that came out of it was ours and is dealt with; otherwise it goes on to its sender.
        """
        self.performing = 0
        self.evaluating = False
        if not self._cutting:
            return False
        self._cutting = False
        return self.task is not None and self.task.uncancel() == 0
