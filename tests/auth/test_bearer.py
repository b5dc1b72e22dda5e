"""Who a bearer token stands for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.auth.bearer import Bearer, new_token
from interlock.auth.roles import Permission
from interlock.errors import Unauthenticated
from interlock.ports import AuditEntry, Role, TokenRow
from interlock.rules.model import SYSTEM
from interlock.system import SystemClock, SystemIds
from tests.auth.clients import World, content, with_client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def token(here: World) -> str:
    return str(content(await here.post(here.secret_form()))["access_token"])


@pytest.fixture
def bearer(here: World) -> Bearer:
    return Bearer(here.store.access, here.clock)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_a_token_stands_for_its_client_and_what_that_may_do(
    here: World, bearer: Bearer, token: str, scheme: str
) -> None:
    caller = await bearer.authenticate(here.tenant.id, f"{scheme} {token}")
    assert (caller.tenant, caller.client) == (here.tenant.id, here.credential.client_id)
    assert caller.roles == (Role.SUPER_ADMIN,)
    assert Permission.EXECUTIONS_TERMINATE in caller.permissions


@pytest.mark.parametrize("header", [None, ""])
async def test_no_token_is_told_apart_from_a_bad_one(bearer: Bearer, header: str | None) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await bearer.authenticate(1, header)
    assert not refused.value.token_presented


async def test_whatever_is_wrong_with_a_token_is_answered_alike(here: World, bearer: Bearer, token: str) -> None:
    tenant = here.tenant.id
    unknown = new_token(here.ids)
    presented = [
        (tenant, f"Bearer {unknown}"),
        (tenant + 1, f"Bearer {token}"),
        (tenant, f"Bearer {token}x"),
        (tenant, f"Bearer {token[:-1]}"),
        (tenant, f"Bearer {token[:-1]}é"),
        (tenant, f"Bearer\t{token}"),
        (tenant, f"Bearer {token}, Bearer {token}"),
        (tenant, f"Bearer Bearer {token}"),
        (tenant, f"Basic {token}"),
        (tenant, token),
        (tenant, "Bearer"),
        (tenant, "Bearer " + "x" * 9_000),
        (tenant, f"Bearer {here.assertion()}"),
    ]
    refusals = set()
    for where, header in presented:
        with pytest.raises(Unauthenticated) as refused:
            await bearer.authenticate(where, header)
        refusals.add((refused.value.message, refused.value.token_presented))
    here.clock.advance(3_600)
    with pytest.raises(Unauthenticated) as refused:
        await bearer.authenticate(tenant, f"Bearer {token}")
    refusals.add((refused.value.message, refused.value.token_presented))
    assert len(refusals) == 1
    assert refusals.pop()[1]


async def test_a_token_ends_to_the_second(here: World, bearer: Bearer, token: str) -> None:
    here.clock.advance(3_599)
    await bearer.authenticate(here.tenant.id, f"Bearer {token}")
    here.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await bearer.authenticate(here.tenant.id, f"Bearer {token}")


async def test_a_token_ends_with_its_client(here: World, bearer: Bearer) -> None:
    brief = with_client(here, await here.client(Role.SUPER_ADMIN, expires_at=here.clock.wall() + 1_000_000))
    token = content(await brief.post(brief.secret_form()))["access_token"]
    await bearer.authenticate(here.tenant.id, f"Bearer {token}")
    here.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await bearer.authenticate(here.tenant.id, f"Bearer {token}")


async def test_token_that_is_revoked_while_it_is_read_is_not_remembered(here: World, token: str) -> None:
    read, revoked = asyncio.Event(), asyncio.Event()

    class Slow:
        """Reads tokens, and tells of them later."""

        def __getattr__(self, name: str) -> Any:
            return getattr(here.store.access, name)

        async def token(self, tenant: int, digest: bytes) -> TokenRow | None:
            row = await here.store.access.token(tenant, digest)
            read.set()
            await revoked.wait()
            return row

    bearer = Bearer(Slow(), here.clock)
    asking = asyncio.ensure_future(bearer.authenticate(here.tenant.id, f"Bearer {token}"))
    await read.wait()
    audit = AuditEntry(actor=SYSTEM, action="client.revoke", target="client")
    await here.store.access.revoke_client(here.tenant.id, here.credential.client_id, here.clock.wall(), audit)
    revoked.set()
    # Another request is the first to notice, and what was remembered is forgotten.
    with pytest.raises(Unauthenticated):
        await bearer.authenticate(here.tenant.id, "Bearer unknown")
    await asking
    with pytest.raises(Unauthenticated):
        await bearer.authenticate(here.tenant.id, f"Bearer {token}")


async def test_a_narrowed_token_may_do_only_what_it_was_narrowed_to(here: World, bearer: Bearer) -> None:
    answer = await here.post(here.secret_form(scope="read_only"))
    caller = await bearer.authenticate(here.tenant.id, f"Bearer {content(answer)['access_token']}")
    assert Permission.EXECUTIONS_READ in caller.permissions
    assert Permission.EXECUTIONS_TERMINATE not in caller.permissions


def test_tokens_are_all_different() -> None:
    ids = SystemIds(SystemClock())
    assert len({new_token(ids) for _ in range(5_000)}) == 5_000
