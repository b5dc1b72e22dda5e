"""A dispatcher without an engine: a test says how each turn ends."""

from __future__ import annotations

import asyncio
from typing import Any

from interlock.engine.dispatchers.embedded import EmbeddedDispatcher
from interlock.engine.held import FINISHED, Claim, Held, Turn
from interlock.rules.model import Ref
from tests.clocks import ManualClock, settle


class Turns:
    """An `Advance` whose turns end as the test says, and that records the runs that had one."""

    holder = "me"

    def __init__(self, *ends: Turn | BaseException) -> None:
        self._ends = list(ends)
        self.claims: list[Claim] = []
        self.given_up: list[Ref] = []

    async def advance(self, claim: Claim, held: Held) -> Turn:
        self.claims.append(claim)
        end = self._ends.pop(0) if self._ends else FINISHED
        if isinstance(end, BaseException):
            raise end
        return end

    async def carry(self, active: Any, held: Held) -> Turn:
        return await self.advance(Claim(held.ref), held)

    async def give_up(self, ref: Ref) -> None:
        self.given_up.append(ref)


class Lingering(Turns):
    """Turns that continue until they are cancelled, and then end later, each one later than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go: list[Claim] = []

    async def advance(self, claim: Claim, held: Held) -> Turn:
        self.claims.append(claim)
        turns = len(self.claims)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await settle(turns)
            self.let_go.append(claim)
        return FINISHED


class Nothing:
    """Executions without a due run."""

    async def due(self, *_: Any) -> list[Any]:
        return []

    async def get(self, ref: Ref) -> None:
        return None


REF = Ref(1, 7)


async def running(turns: Any, **options: int) -> tuple[EmbeddedDispatcher, ManualClock, asyncio.Task[None]]:
    clock = ManualClock()
    dispatcher: Any = EmbeddedDispatcher(Nothing(), turns, clock, **options)  # type: ignore[arg-type]
    task = asyncio.ensure_future(dispatcher.run())
    await settle()
    return dispatcher, clock, task


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
