"""What every world begins with: a data directory with two tenants, their clients and a webhook."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from interlock.auth.bearer import digest_of, new_token
from interlock.auth.tenants import ensure_default_tenant
from interlock.ports import AuditEntry, ClientRow, Role, WebhookRow
from interlock.rules.model import Actor
from interlock.store.sqlite.store import SqliteStore
from interlock.store.sqlite.writer import Form
from simulation.disk import ROOM
from simulation.loop import SimulatedLoop
from simulation.scenario import CLIENTS, HOOK
from simulation.server import ProcessClock, SeededIds, Wall

SECOND: Final = 1_000_000
START: Final = 1_767_225_600 * SECOND
"""2026-01-01T00:00:00Z."""
OTHER_HOST: Final = "other.example"
CALLBACK_SECONDS: Final = 8 * 24 * 3600
_FOR_EVER: Final = START + 100 * 365 * 86_400 * SECOND
_AUDIT: Final = AuditEntry(actor=Actor("simulation"), action="simulation.prepare", target="world")


def client_name(number: int) -> str:
    return f"client-{number}@localhost/spc"


@cache
def tokens() -> tuple[str, ...]:
    """One for each client of the first tenant, and one for the other tenant's."""
    loop = SimulatedLoop()
    clock = ProcessClock(loop, Wall(loop, START))
    ids = SeededIds(clock, 0, Random("tokens"))
    loop.close()
    return tuple(new_token(ids) for _ in range(CLIENTS + 1))


@cache
def template() -> Path:
    """The directory. To be copied, never used."""
    directory = Path(tempfile.mkdtemp(prefix="interlock-simulation-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    with asyncio.Runner() as runner:
        runner.run(_prepare(directory / "data"))
    return directory / "data"


async def _prepare(directory: Path) -> None:
    store = SqliteStore(directory, form=Form.INLINE, room=ROOM)
    access = store.access
    ours = await ensure_default_tenant(access, (), START)
    other = await access.create_tenant("other", (OTHER_HOST,), START, _AUDIT)
    await access.keep_setting("installation", b"installation")
    await access.keep_setting("callback_secret", bytes(range(32)))
    for number, token in enumerate(tokens()):
        tenant = ours if number < CLIENTS else other
        row = ClientRow(
            tenant=tenant.id,
            id=client_name(number),
            display_name="",
            public_key=bytes(31) + b"\x02",
            roles=(Role.SUPER_ADMIN,),
            created_at=START,
        )
        await access.create_client(row, _AUDIT)
        await access.issue(tenant.id, row.id, digest_of(token), START, _FOR_EVER, None, _AUDIT)
    hook = WebhookRow(
        tenant=ours.id,
        id=HOOK,
        document=b"{}",
        url="https://far.example/in",
        callback_timeout=CALLBACK_SECONDS,
        created_at=START,
        updated_at=START,
    )
    await store.webhooks.create(hook, _AUDIT)
    await store.close()
