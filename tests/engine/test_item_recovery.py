"""A restarted server performs only the items that are open."""

from __future__ import annotations

from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from interlock.rules.events import ItemSettled
from interlock.rules.model import AttemptRef, Result
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State
from tests.clocks import settle
from tests.engine.mailing import (
    DONE,
    FAILED,
    answer,
    last_item,
    output,
    rows,
    told,
)
from tests.engine.recipients import MAILS, NAMES, RecipientsStep, recipients
from tests.engine.worlds import FarEnd, SteppingFarEnd, engine, restarted

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("settled", [0, 1, 2, 3])
async def test_restarted_server_performs_only_the_items_that_are_open(settled: int) -> None:
    far = FarEnd()
    kinds = [recipients(far)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.start(await first.publish([MAILS]))
        for _ in range(min(settled, 2)):
            await answer(first)
        if settled == 3:
            # The server ends when all items are recorded, and the attempt as a whole is not.
            await first.store.executions.apply(ref, last_item(first, ref))
        sent = len(far.calls)
        async with restarted(first, more_kinds=kinds) as second:
            for _ in range(settled, 3):
                await answer(second)
            assert told(far)[sent:] == list(NAMES[settled:])
            assert output(second, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}
            assert second.outcomes(ref) == [Outcome.ABANDONED, DONE]


@given(turns=st.integers(0, 45))
async def test_crash_at_any_point_leaves_settled_items_alone(turns: int) -> None:
    far = SteppingFarEnd()
    kinds = [recipients(far)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.begin(await first.publish([MAILS]))
        for _ in range(turns):
            await checkpoint()
        await first.down()
        settled = [row.name for row in rows(first, ref) if row.outcome is DONE]
        sent = len(far.calls)
        async with restarted(first, more_kinds=kinds) as second:
            await settle()
            assert second.state(ref) is State.DONE
            assert [*settled, *told(far)[sent:]] == list(NAMES)
            assert output(second, ref) == {"SUCCEEDED": list(NAMES), "FAILED": []}


async def test_restarted_server_ends_a_step_whose_item_had_failed() -> None:
    far = FarEnd()
    kinds = [recipients(far)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.start(await first.publish([MAILS]))
        row = first.row(ref)
        refused = Result(FAILED, error=b'{"code":"REFUSED","message":"no"}')
        event = ItemSettled(first.clock.now(), AttemptRef(0, 1, row.attempt_epoch), 0, refused)
        await first.store.executions.apply(ref, event)
        async with restarted(first, more_kinds=kinds) as second:
            assert (second.state(ref), told(far)) == (State.ERROR, ["ann"])
            assert second.error(ref)["code"] == "REFUSED"


class Unrepeatable(RecipientsStep):
    repeatable = False


async def test_lost_attempt_of_a_kind_that_may_not_be_repeated_ends_the_run() -> None:
    far = FarEnd()

    def kinds() -> Any:
        kind = recipients(far, step=Unrepeatable)
        return [type(kind)(Unrepeatable, kind.compile)]

    async with engine(far=far, more_kinds=kinds()) as first:
        ref = await first.start(await first.publish([MAILS]))
        await answer(first)
        async with restarted(first, more_kinds=kinds()) as second:
            assert (second.state(ref), told(far)) == (State.ERROR, ["ann", "bob"])
            assert second.outcomes(ref) == [Outcome.INTERRUPTED_PARTLY]
