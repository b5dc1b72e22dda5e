"""Runs to terminate by sets: one in every state, another tenant with the same ids, and requests of each form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import pytest

from interlock.ports import AutomationRow, Definition
from interlock.rules.events import (
    Announce,
    CalledBack,
    Fail,
    Finish,
    Settled,
    Terminated,
    Wait,
)
from interlock.rules.model import (
    AttemptRef,
    Mode,
    Ref,
    Result,
    TerminationRequest,
)
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor
from interlock.store.sqlite.writer import Form
from tests.store.stores import ANN, AUDIT, PLAN, World, named, on_connection, opened_as, sqlite, world

FIRST = TerminationRequest(ANN, "first", mode=Mode.DRAIN, deadline=5_000_000)
REQUESTS = [
    TerminationRequest(ANN, "enough"),
    TerminationRequest(ANN, "at once", deadline=0),
    TerminationRequest(ANN, "gently", mode=Mode.DRAIN, deadline=300_000_000),
    TerminationRequest(ANN, "sooner", mode=Mode.DRAIN, deadline=1_000_000),
    TerminationRequest(ANN, "gently and at once", mode=Mode.DRAIN, deadline=0),
    TerminationRequest(ANN, "at the same moment", mode=Mode.DRAIN, deadline=4_952_000),
]
AT = 50_000


@pytest.fixture(params=[None, Form.INLINE], ids=named)
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    form: Form | None = request.param
    async with opened_as(form, tmp_path) as store:
        yield await world(store)


async def one_in_every_state(here: World, parent: Ref | None = None, *, called: bool = False) -> list[int]:
    """Make a run in each state, STOPPING by drain included, and return their ids.

    Args:
        here: The tenant and its automation.
        parent: The parent of the runs.
        called: Whether the receivers of those in flight have called back.
    """
    executions = here.store.executions
    ids = []
    for state in State:
        match state:
            case State.PENDING:
                row = (await here.start(parent=parent)).execution
            case State.WAITING:
                row = (await here.start(Wait(0, WaitingFor.TIMER, 9_000_000), parent=parent)).execution
            case State.PAUSED_BY_CIRCUIT_BREAKER:
                row = (await here.start(parent=parent)).execution
                await sqlite(here.store).writer.submit(on_connection(partial(pause, row.id)))
            case _:
                row = (await here.start(Announce(0), parent=parent)).execution
        if called and state in {State.PROCESS_STEP, State.STOPPING}:
            answer = Result(Outcome.SUCCEEDED, b'{"ticket":1}', status=202)
            await executions.apply(row.ref, CalledBack(1_500, 0, answer))
        if state in {State.STOPPING, State.TERMINATE}:
            termination = FIRST if state is State.STOPPING else replace(FIRST, deadline=0)
            await executions.apply(row.ref, Terminated(2_000, termination))
        if state in {State.DONE, State.ERROR}:
            attempt = AttemptRef(0, 1, row.attempt_epoch)
            outcome = Outcome.SUCCEEDED if state is State.DONE else Outcome.FAILED
            await executions.apply(row.ref, Settled(2_000, attempt, Result(outcome), end_of(state), "me"))
        found = await executions.get(row.ref)
        assert found is not None
        assert found.state is state
        ids.append(row.id)
    return ids


def pause(id_: int, connection: apsw.Connection) -> None:
    """Pause a run, as the circuit breaker does when a run is created."""
    sql = "UPDATE executions SET state = ?, waiting_for = NULL, wake_at = NULL WHERE id = ?"
    connection.execute(sql, (State.PAUSED_BY_CIRCUIT_BREAKER, id_))


def end_of(state: State) -> Finish | Fail:
    """Return what ends a run in a terminal state."""
    return Finish(1) if state is State.DONE else Fail(0)


async def audited(here: World) -> list[str]:
    """Return the runs whose termination was accepted, from the audit record."""
    rows = await here.store.audit.rows(here.tenant)
    return [
        row.entry.target for row in rows if (row.entry.action, row.entry.outcome) == ("execution.terminate", "accepted")
    ]


async def another_tenant(here: World) -> World:
    """The same automation of another tenant, in the same store."""
    tenant = await here.store.access.create_tenant("other", ("other.example",), 1, AUDIT)
    row = AutomationRow(
        tenant=tenant.id, id="auto", document=b"{}", version=0, definition=None, created_at=1, updated_at=1
    )
    made = await here.store.automations.create(
        row,
        Definition(
            tenant=tenant.id, id=0, automation="auto", version=1, steps=PLAN, triggers=b"[]", context=None, created_at=1
        ),
        AUDIT,
    )
    assert made.definition is not None
    return World(here.store, tenant.id, made.id, made.definition, here.listener)
