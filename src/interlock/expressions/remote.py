"""Compiles expressions without CEL in this process: what is to be known of a source is asked of an evaluator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from interlock.errors import InvalidArgument
from interlock.expressions.analysis import Analysed, Named, Native, Recent
from interlock.expressions.environment import Environment, KnownEnvironment, Made, NeedsProcess, SourceCollector
from interlock.expressions.limits import MAX_ANALYSES_AT_ONCE
from interlock.expressions.names import Place
from interlock.system import yield_to_loop


class Analyses(Protocol):
    """Compiles a source somewhere else."""

    async def analyse(self, named: Named, *, urgent: bool = False) -> Analysed: ...


class RemoteEnvironment(Environment):
    """Compiles sources by their analyses, and remembers them."""

    def __init__(self, analyses: Analyses) -> None:
        super().__init__()
        self._analyses = analyses
        self._recent: Recent[Analysed] = Recent()

    async def compiled(
        self, make: Callable[[Environment], Made], *, urgent: bool = False, at_once: bool = False
    ) -> Made:
        collector = SourceCollector()
        try:
            make(collector)
        except InvalidArgument:
            # It says itself what it could not compile.
            pass
        await yield_to_loop()
        known: dict[Named, Analysed] = {}
        missing: list[Named] = []
        for named in collector.sources:
            analysed = self._recent.get(named)
            if analysed is None:
                missing.append(named)
            else:
                known[named] = analysed
        if missing and at_once:
            raise NeedsProcess
        for begin in range(0, len(missing), MAX_ANALYSES_AT_ONCE):
            some = missing[begin : begin + MAX_ANALYSES_AT_ONCE]
            found = await asyncio.gather(*[self._analyses.analyse(named, urgent=urgent) for named in some])
            for named, analysed in zip(some, found, strict=True):
                known[named] = analysed
                self._recent.put(named, analysed)
        return make(KnownEnvironment(known))

    def _analysed(self, place: Place, source: str) -> tuple[Analysed, Native | None]:
        raise TypeError("a server compiles in its evaluator processes: see compiled()")
