"""A run of one step with three items, and what its store and its receiver say of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from interlock.ports import Http, ItemRow
from interlock.rules.events import Event, ItemSettled
from interlock.rules.model import AttemptRef, Ref, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.steps.attempt import Attempt, Items, Report
from simulation.reads import finished
from tests.clocks import SECOND, settle
from tests.engine.recipients import MAILS, RecipientsStep, recipients
from tests.engine.worlds import Engine, FarEnd, engine

TWO_ATTEMPTS = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)
NOT_SENT = Outcome.INTERRUPTED_NOT_SENT
DONE, FAILED, UNKNOWN = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.INTERRUPTED_OUTCOME_UNKNOWN


def rows(world: Engine, ref: Ref) -> list[ItemRow]:
    return finished(world.store.executions.items(ref))


def recorded(world: Engine, ref: Ref) -> list[list[Outcome | None]]:
    """The outcomes of the items, by attempt."""
    found: dict[int, list[Outcome | None]] = {}
    for row in rows(world, ref):
        found.setdefault(row.attempt, []).append(row.outcome)
    return list(found.values())


def output(world: Engine, ref: Ref) -> Any:
    """What the step returned, in its last attempt."""
    [(_, text)] = finished(world.store.executions.outputs(ref))
    return json.loads(text)


def told(far: FarEnd) -> list[str]:
    """Who was called, in order."""
    return [call.body["to"] for call in far.calls]


@asynccontextmanager
async def mailing(
    retries: RetryPolicy = NO_RETRIES,
    step: Callable[[Http, Sequence[str], RetryPolicy], RecipientsStep] = RecipientsStep,
    far: FarEnd | None = None,
) -> AsyncIterator[tuple[Engine, Ref]]:
    """A run of one step with three items, at the first of them."""
    far = far or FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, retries=retries, step=step)]) as world:
        yield world, await world.start(await world.publish([MAILS]))


async def answer(world: Engine, status: int = 200) -> None:
    [call] = world.far.open
    call.answer(status)
    await settle()


def last_item(world: Engine, ref: Ref) -> Event:
    row = world.row(ref)
    attempt = AttemptRef(row.step, row.attempt, row.attempt_epoch)
    return ItemSettled(world.clock.now(), attempt, 2, Result(DONE, output=b'{"status":200}'))


class Broken(RecipientsStep):
    """Meets a defect when all its items are settled."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        await super().perform(attempt, items)
        raise RuntimeError
