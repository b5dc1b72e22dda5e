"""A first start on a full disk, without room for the key of secrets: runs can be terminated, and none is lost."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from interlock.assembly.assemble import assembled
from interlock.assembly.system import Platform
from interlock.engine.start import StartRequest
from interlock.expressions.evaluate import LocalEvaluator
from interlock.ports import AutomationRow, Definition
from interlock.rules.events import Terminated
from interlock.rules.model import TerminationRequest
from interlock.rules.states import State
from interlock.secrets.keys import KEY_FILE, open_vault, write_private
from interlock.settings import Settings
from interlock.store.sqlite.store import SqliteStore
from tests.clocks import FixedChance, ManualClock, SequentialIds, settle
from tests.engine.worlds import ANN, AUDIT, FarEnd, engine, evaluate, webhook

pytestmark = pytest.mark.anyio

SECRET_STEPS = [evaluate("s", secret=("token",), token="'x' + ctx.trigger.n"), webhook("w")]


@dataclass
class FullDisk:
    """A disk without room for the key file, until the test frees some."""

    is_full: bool = True

    def write(self, file: Path, text: bytes) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        write_private(file, text)


async def test_run_with_a_secret_goes_on_when_the_key_can_be_written(tmp_path: Path) -> None:
    disk = FullDisk()
    async with engine(vault=open_vault(tmp_path, SequentialIds(), disk.write)) as world:
        ref = await world.start(await world.publish(SECRET_STEPS), {"n": "7"})
        await world.clock.pass_time(5)
        assert (world.state(ref), world.far.calls) == (State.PENDING, [])
        disk.is_full = False
        await world.clock.pass_time(2)
        assert (world.state(ref), len(world.far.calls)) == (State.PROCESS_STEP, 1)
        assert world.output(ref, 0) == {"token": "[secret]"}


async def test_run_that_waits_for_the_key_can_be_terminated(tmp_path: Path) -> None:
    async with engine(vault=open_vault(tmp_path, SequentialIds(), FullDisk().write)) as world:
        ref = await world.start(await world.publish(SECRET_STEPS), {"n": "7"})
        await world.terminate(ref)
        await world.clock.pass_time(2)
        assert (world.state(ref), world.far.calls, world.dispatcher.busy) == (State.TERMINATE, [], 0)


async def test_server_without_room_for_its_key_terminates_the_runs_of_its_store(tmp_path: Path) -> None:
    clock, disk, settings = ManualClock(), FullDisk(), Settings(data_dir=tmp_path / "data", grace=0)
    platform = Platform(
        clock,
        FixedChance(),
        SequentialIds,
        lambda directory, fail: SqliteStore(directory, on_fatal=fail),
        FarEnd(),
        LocalEvaluator,
    )
    async with assembled(settings, "localhost", platform=platform) as system:
        row = AutomationRow(
            tenant=system.tenant.id, id="a", document=b"{}", version=0, definition=None, created_at=1, updated_at=1
        )
        plan = Definition(
            tenant=system.tenant.id,
            id=0,
            automation="a",
            version=1,
            steps=b'[{"stepName":"w","waitForDuration":{"duration":"60s"}}]',
            triggers=b"[]",
            context=None,
            created_at=1,
        )
        made = await system.store.automations.create(row, plan, AUDIT)
        assert made.definition is not None
        started = await system.starter.start(StartRequest(system.tenant.id, "a", made.definition, ANN, {}))
        await settle()
    ref = started.execution.ref
    # The state that an earlier release left.
    (settings.data_dir / KEY_FILE).unlink()
    full = replace(platform, vault=partial(open_vault, write=disk.write))
    async with assembled(settings, "localhost", platform=full) as system:
        await system.store.executions.apply(ref, Terminated(clock.now(), TerminationRequest(ANN, "enough")))
        found = await system.store.executions.get(ref)
        assert found is not None
        assert found.state is State.TERMINATE
    assert not (settings.data_dir / KEY_FILE).exists()
