"""What a step is told of its items that have ended, in this attempt or before it: each with all that it returned."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from interlock.engine.items import remaining
from interlock.ports import HttpRequest, ItemRow, Place, SecretUnreadable
from interlock.rules.events import Announce, ItemSettled
from interlock.rules.model import Item, Ref, SecretRef
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import NO_RETRIES, RetryPolicy
from interlock.rules.states import State
from interlock.secrets.vault import AesVault
from interlock.steps.attempt import Attempt, Failed, Items, Report, SettledItem, Succeeded
from interlock.steps.documents import encode, error_document
from interlock.steps.kind import PrepareContext, Ready
from simulation.reads import finished
from tests.clocks import SECOND, SequentialIds, settle
from tests.engine.recipients import MAILS, RecipientsStep, TolerantStep, recipients
from tests.engine.worlds import VAULT, Engine, FarEnd, engine, restarted

pytestmark = pytest.mark.anyio

RUN = Ref(3, 7)
ANN, BOB, EVE = Item(0, "ann"), Item(1, "bob"), Item(2, "eve")
TWICE = RetryPolicy(attempts=2, min_gap=SECOND, max_gap=SECOND)
DONE, FAILED = Outcome.SUCCEEDED, Outcome.FAILED


def row(item: Item, outcome: Outcome | None = None, attempt: int = 1, **more: Any) -> ItemRow:
    return ItemRow(
        position=5,
        attempt=attempt,
        item=item.number,
        name=item.name,
        outcome=outcome,
        settled_at=None if outcome is None else 9,
        **more,
    )


def sealed(place: Place) -> SecretRef:
    return VAULT.seal(place, b'{"pw":"hunter2"}', frozenset({"pw"}))


# --- the rows of a step -----------------------------------------------------------------------------------------------


def test_items_are_open_until_a_row_says_how_they_ended() -> None:
    rows = [row(EVE), row(ANN, DONE, output=b'{"n":1}'), row(BOB)]
    assert remaining(RUN, rows, VAULT) == ((BOB, EVE), {0: SettledItem(ANN, DONE, {"n": 1}, None, None)})
    assert remaining(RUN, [], VAULT) == ((), {})


def test_failed_item_that_is_retried_is_open_until_a_later_attempt_ends_it() -> None:
    first = [row(ANN, FAILED, again=True, error=b"{}", reached=Reached.ANSWERED), row(BOB, DONE)]
    assert remaining(RUN, first, VAULT)[0] == (ANN,)
    second = row(ANN, FAILED, 2, error=b'{"code":"X"}', reached=Reached.UNKNOWN)
    still_open, settled = remaining(RUN, [*first, second], VAULT)
    assert still_open == ()
    assert settled == {
        0: SettledItem(ANN, FAILED, None, b'{"code":"X"}', Reached.UNKNOWN),
        1: SettledItem(BOB, DONE, None, None, None),
    }


def test_secrets_in_the_output_of_an_item_are_opened_at_its_place_only() -> None:
    masked = b'{"pw":"[secret]"}'
    here = row(BOB, DONE, output=masked, sealed=sealed(Place.output(RUN, 5, 1)))
    assert remaining(RUN, [here], VAULT)[1][1].output == {"pw": "hunter2"}
    for place in (
        Place.output(RUN, 5),
        Place.output(RUN, 4, 1),
        Place.output(RUN, 5, 2),
        Place.output(Ref(3, 8), 5, 1),
    ):
        with pytest.raises(SecretUnreadable):
            remaining(RUN, [replace(here, sealed=sealed(place))], VAULT)


# --- a whole run ------------------------------------------------------------------------------------------------------


class Collecting(TolerantStep):
    """Returns all that it is told of its items."""

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        for item in items.open:
            headers = {"Idempotency-Key": str(items.key(item.number))}
            body = encode({"to": item.name})
            request = HttpRequest("POST", "https://far.example/in", headers, body, 30.0, 1_000)
            status = (await self._http.send(request, attempt.progress)).status
            answered: Succeeded | Failed = Succeeded({"response": {"to": item.name}}, status)
            if status != 200:
                retries = self._retries if status >= 500 else NO_RETRIES
                answered = Failed(error_document("REFUSED", "no"), Reached.ANSWERED, status, retries)
            await items.settle(item.number, answered)
        told = {
            each.item.name: [number, str(each.outcome), each.output, each.error and json.loads(each.error)["code"]]
            for number, each in items.settled.items()
        }
        return Succeeded({"told": told, "reached": [each.reached for each in items.settled.values()]})


class Secretive(Collecting):
    """The same, announced with a secret, so that the answers may hold it."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        return replace(ready, sealed=context.seal_input(encode({"pw": "hunter2"})))


TOLD = {
    "ann": [0, "SUCCEEDED", {"response": {"to": "ann"}}, None],
    "bob": [1, "SUCCEEDED", {"response": {"to": "bob"}}, None],
    "eve": [2, "FAILED", None, "REFUSED"],
}


async def answer(world: Engine, *statuses: int) -> None:
    for status in statuses:
        [call] = world.far.open
        call.answer(status)
        await settle()


def returned(world: Engine, ref: Ref) -> Any:
    [(_, text)] = finished(world.store.executions.outputs(ref))
    return json.loads(text)


@pytest.mark.parametrize("step", [Collecting, Secretive])
async def test_step_is_told_of_the_items_of_its_attempt(step: type[RecipientsStep]) -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, step=step)]) as world:
        ref = await world.start(await world.publish([MAILS]))
        await answer(world, 200, 200, 400)
        assert (world.state(ref), returned(world, ref)["told"]) == (State.DONE, TOLD)


@pytest.mark.parametrize("step", [Collecting, Secretive])
async def test_step_is_told_of_the_items_of_earlier_attempts(step: type[RecipientsStep]) -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, retries=TWICE, step=step)]) as world:
        ref = await world.start(await world.publish([MAILS]))
        await answer(world, 200, 503, 400)
        await world.clock.pass_time(1)
        await answer(world, 200)
        assert (world.state(ref), returned(world, ref)["told"]) == (State.DONE, TOLD)


@pytest.mark.parametrize("step", [Collecting, Secretive])
async def test_step_is_told_after_a_restart_of_the_items_before_it(step: type[RecipientsStep]) -> None:
    far = FarEnd()
    kinds = [recipients(far, step=step)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.start(await first.publish([MAILS]))
        await answer(first, 200, 200)
        async with restarted(first, more_kinds=kinds) as second:
            await answer(second, 400)
            assert (second.state(ref), returned(second, ref)["told"]) == (State.DONE, TOLD)


async def test_retry_whose_ended_items_cannot_be_read_fails_and_says_why() -> None:
    far = FarEnd()
    kinds = [recipients(far, retries=TWICE, step=Secretive)]
    async with engine(far=far, more_kinds=kinds) as first:
        ref = await first.start(await first.publish([MAILS]))
        await answer(first, 200, 503, 400)
        other = AesVault([b"o" * 32], SequentialIds())
        async with restarted(first, more_kinds=kinds, vault=other) as second:
            await second.clock.pass_time(1)
            assert (second.state(ref), second.error(ref)["code"]) == (State.ERROR, "SECRET_UNREADABLE")
            assert (second.row(ref).step, len(far.calls)) == (0, 3)


async def test_failed_item_says_whether_its_receiver_answered() -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, step=Collecting)]) as world:
        ref = await world.start(await world.publish([MAILS]))
        await answer(world, 200, 400, 400)
        assert returned(world, ref)["reached"] == [None, "answered", "answered"]


async def test_item_whose_sealed_output_cannot_be_written_is_recorded_without_it() -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, step=Secretive)]) as world:
        ref = await world.start(await world.publish([MAILS]))
        world.executions.refuses = lambda event: isinstance(event, ItemSettled) and event.result.output is not None
        await answer(world, 200, 200, 200)
        items = finished(world.store.executions.items(ref))
        assert [(item.outcome, item.output, item.sealed) for item in items] == [(DONE, None, None)] * 3
