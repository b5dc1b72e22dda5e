"""What a step is given to make an attempt with: its run, its input and key, its first start, and the permitted apps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from interlock.ports import AutomationRow, Definition
from interlock.rules.events import Announce, Settled
from interlock.rules.model import SECOND, Ref
from interlock.rules.outcomes import Outcome, Reached
from interlock.rules.retry import RetryPolicy
from interlock.rules.states import State
from interlock.steps.attempt import Attempt, Failed, Items, Report, Succeeded
from interlock.steps.documents import error_document
from interlock.steps.kind import PrepareContext, Ready
from simulation.reads import finished
from tests.clocks import START
from tests.engine.recipients import MAILS, RecipientsStep, recipients
from tests.engine.worlds import Engine, FarEnd, engine, wait, webhook
from tests.store.stores import AUDIT

pytestmark = pytest.mark.anyio

THRICE = RetryPolicy(attempts=3, min_gap=SECOND, max_gap=SECOND)


class Reporting(RecipientsStep):
    """Fails twice, and then returns what it was given."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        sealed = context.seal_input(b'{"pw":"hunter2"}')
        return replace(ready, input=b'{"pw":"[secret]"}', items=(), sealed=sealed)

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        if attempt.attempt.number < 3:
            error = error_document("BUSY", "later", body="hunter2")
            return Failed(error, Reached.ANSWERED, 503, self._retries)
        return Succeeded(
            {
                "run": attempt.ref.id,
                "automation": attempt.automation,
                "attempt": attempt.attempt.number,
                "input": json.loads(attempt.input),
                "secret_length": len(json.loads(attempt.reveal())["pw"]),
                "first_started_at": attempt.first_started_at,
                "key": attempt.key,
                "apps": None if attempt.apps is None else sorted(attempt.apps),
            }
        )


async def publish(world: Engine, apps: frozenset[str] | None, steps: Sequence[dict[str, Any]]) -> int:
    row = AutomationRow(
        tenant=world.tenant, id="confined", document=b"{}", version=0, definition=None, created_at=1, updated_at=1
    )
    plan = Definition(
        tenant=world.tenant,
        id=0,
        automation="confined",
        version=1,
        steps=json.dumps(list(steps)).encode(),
        triggers=b"[]",
        context=None,
        apps=None if apps is None else json.dumps(sorted(apps)),
        created_at=1,
    )
    made = await world.store.automations.create(row, plan, AUDIT)
    assert made.definition is not None
    return made.definition


def returned(world: Engine, ref: Ref) -> Any:
    [_, (_, text)] = finished(world.store.executions.outputs(ref))
    return json.loads(text)


@pytest.mark.parametrize("apps", [None, frozenset({"crm", "hr"})])
async def test_every_attempt_is_given_the_data_of_the_first(apps: frozenset[str] | None) -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, retries=THRICE, step=Reporting)]) as world:
        ref = await world.start(await publish(world, apps, [wait("first", "5s"), MAILS]), automation="confined")
        await world.clock.pass_time(5)
        await world.clock.pass_time(1)
        await world.clock.pass_time(1)
        assert world.state(ref) is State.DONE
        assert world.outcomes(ref) == [Outcome.SUCCEEDED, Outcome.FAILED, Outcome.FAILED, Outcome.SUCCEEDED]
        assert returned(world, ref) == {
            "run": ref.id,
            "automation": "confined",
            "attempt": 3,
            "input": {"pw": "[secret]"},
            "secret_length": 7,
            "first_started_at": START + 5 * SECOND,
            "key": f"inst:{ref.id}:mail:1",
            "apps": None if apps is None else ["crm", "hr"],
        }
        assert b"hunter2" not in b"".join(step.error or b"" for step in world.steps(ref))


class Answered(RecipientsStep):
    """Returns the answer to a call whose input has a secret."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        return replace(ready, items=(), sealed=context.seal_input(b'{"pw":"hunter2"}'))

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        return Succeeded({"response": {"token": "t0ken"}})


class Open(Answered):
    """Has no secret."""

    async def prepare(self, context: PrepareContext) -> Ready:
        ready = await super().prepare(context)
        assert isinstance(ready, Announce)
        return replace(ready, sealed=None)


@pytest.mark.parametrize("step", [Answered, Open])
async def test_answer_to_a_call_with_a_secret_is_a_secret_of_the_next_step(step: type[RecipientsStep]) -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, step=step)]) as world:
        reads = webhook("b", {"token": "{{ ctx.mail.response.token }}"})
        ref = await world.start(await world.publish([MAILS, reads]))
        assert far.calls[0].body["payload"]["context"] == {"token": "t0ken"}
        [settled] = [event for event in world.executions.events if isinstance(event, Settled)]
        assert isinstance(settled.next, Announce), "both are one commit"
        shown = world.steps(ref)[1].input
        assert shown is not None
        assert (b"t0ken" in shown) is (step is Open)


class Bare(RecipientsStep):
    """Has no input, and a key that says how often it was prepared."""

    async def prepare(self, context: PrepareContext) -> Ready:
        self.prepared += 1
        return Announce(context.position, key=f"key-{self.prepared}")

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        if attempt.attempt.number == 1:
            return Failed(error_document("BUSY", "later"), Reached.ANSWERED, 503, self._retries)
        return Succeeded({"key": attempt.key, "input": attempt.input.decode()})

    prepared = 0


async def test_further_attempt_at_a_step_without_an_input_is_prepared_again() -> None:
    far = FarEnd()
    async with engine(far=far, more_kinds=[recipients(far, retries=THRICE, step=Bare)]) as world:
        ref = await world.start(await world.publish([MAILS]))
        await world.clock.pass_time(1)
        assert world.state(ref) is State.DONE
        [(_, text)] = finished(world.store.executions.outputs(ref))
        assert json.loads(text) == {"key": "key-2", "input": "{}"}
