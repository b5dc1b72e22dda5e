"""Token requests of unknown, revoked and slowed down clients; every refusal is the same."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.auth.bearer import Bearer
from interlock.auth.credentials import SECRET_PREFIX
from interlock.auth.failures import MOST
from interlock.auth.token_endpoint import FAILURE_DELAY, MAX_HELD_FAILURES, TokenAnswer, TokenEndpoint
from interlock.errors import Unauthenticated
from interlock.ports import Access, AuditEntry, Role
from interlock.rules.model import SECOND, SYSTEM
from tests.auth.clients import ADDRESS, World, b64, content, forge, headers, with_client
from tests.auth.refusals import assert_refused
from tests.clocks import settle
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio


async def test_issuer_subject_and_client_id_are_one(here: World) -> None:
    me = here.credential.client_id
    other = await here.client(Role.SUPER_ADMIN)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"iss": other.client_id}, me),
        ({"sub": other.client_id}, me),
        ({"iss": other.client_id, "sub": other.client_id}, me),
        ({"iss": me.upper(), "sub": me.upper()}, me),
        ({"iss": me + " ", "sub": me + " "}, me),
        ({"iss": [me], "sub": [me]}, me),
        ({"iss": None}, me),
    ]
    for claims, client_id in cases:
        await assert_refused(
            here, await here.present(here.assertion(**claims), client_id=client_id), "assertion_subject"
        )
    for client_id in (me.upper(), me + " ", "é", "x" * 2_000):
        await assert_refused(here, await here.present(here.go(), client_id=client_id), "client_unknown")
    await assert_refused(here, await here.present(here.go(), client_id=other.client_id), "assertion_signature")


async def test_a_client_that_does_not_say_its_id_is_known_by_issuer_and_subject(here: World) -> None:
    assert (await here.present(here.go(), client_id=None)).status == 200
    await assert_refused(here, await here.present(here.assertion(iss="x"), client_id=None), "client_unknown")


async def test_the_host_in_a_client_id_is_never_compared(here: World) -> None:
    token = here.assertion(aud="localhost")
    assert (await here.post(here.form(token), host="localhost")).status == 200


async def test_another_tenants_client(here: World) -> None:
    made = await here.store.access.create_tenant(
        "other", ("other.example",), 1, AuditEntry(actor=SYSTEM, action="x", target="x")
    )
    stranger = with_client(here, await here.client(Role.SUPER_ADMIN, tenant=made.id))
    await assert_refused(here, await stranger.present(stranger.go()), "client_unknown")
    await assert_refused(here, await stranger.post(stranger.secret_form()), "client_unknown")
    token = stranger.assertion(aud="other.example")
    assert (await stranger.post(stranger.form(token), host="other.example", tenant=made.id)).status == 200


async def test_an_assertion_presented_again(here: World) -> None:
    token = here.go()
    assert (await here.present(token)).status == 200
    await assert_refused(here, await here.present(token), "assertion_replayed")


async def test_of_32_who_present_one_assertion_at_once_one_gets_a_token(here: World) -> None:
    token = here.go()
    answers = await asyncio.gather(*(here.post(here.form(token), address=f"203.0.113.{n}") for n in range(32)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 31


async def test_an_unknown_client_hears_what_a_known_one_with_the_wrong_key_hears(here: World) -> None:
    attacker = Ed25519PrivateKey.generate()
    known = await here.present(forge({"alg": "EdDSA"}, here.claims(), attacker))
    claims = here.claims(iss="unknown@x/pcc", sub="unknown@x/pcc")
    unknown = await here.present(forge({"alg": "EdDSA"}, claims, attacker), client_id="unknown@x/pcc")
    assert known == unknown


@pytest.mark.parametrize("by", ["go", "secret"])
async def test_a_revoked_client_and_the_tokens_it_had(here: World, by: str) -> None:
    token = content(await here.post(here.secret_form()))["access_token"]
    bearer = Bearer(here.store.access, here.clock)
    assert (await bearer.authenticate(here.tenant.id, f"Bearer {token}")).client == here.credential.client_id
    await here.store.access.revoke_client(
        here.tenant.id,
        here.credential.client_id,
        here.clock.now(),
        AuditEntry(actor=SYSTEM, action="client.revoke", target="x"),
    )
    with pytest.raises(Unauthenticated):
        await bearer.authenticate(here.tenant.id, f"Bearer {token}")
    answer = await (here.present(here.go()) if by == "go" else here.post(here.secret_form()))
    await assert_refused(here, answer, "client_revoked")


async def test_a_client_whose_time_is_over(here: World) -> None:
    brief = with_client(here, await here.client(Role.SUPER_ADMIN, expires_at=here.clock.wall() + 60_000_000))
    assert (await brief.post(brief.secret_form())).status == 200
    here.clock.advance(60)
    await assert_refused(here, await brief.post(brief.secret_form()), "client_expired")


def secret_of(**jwk: str) -> str:
    return SECRET_PREFIX + b64(json.dumps(jwk).encode())


async def test_secrets_that_are_not_the_secret(here: World) -> None:
    right = here.credential.secret
    other = (await here.client()).secret
    seed, x = (b64(part) for part in (here.key.private_bytes_raw(), here.credential.public_key))
    assert (
        await here.post(here.secret_form(client_secret=secret_of(kty="OKP", crv="Ed25519", d=seed, x=x)))
    ).status == 200
    malformed = [
        right.replace(":v1:", ":v2:"),
        right.replace("secret-token", "token"),
        right + "=",
        right[:-1],
        right.removeprefix(SECRET_PREFIX),
        SECRET_PREFIX,
        secret_of(kty="OKP", crv="Ed25519", d=seed, x=b64(bytes(32))),
        secret_of(kty="OKP", crv="Ed25519", d=seed[:20], x=x),
        secret_of(kty="EC", crv="P-256", d=seed, x=x),
        secret_of(kty="OKP", crv="X25519", d=seed, x=x),
        secret_of(kty="OKP", crv="Ed25519", x=x),
        SECRET_PREFIX + b64(b"[]"),
        "x" * 5_000,
    ]
    for secret in malformed:
        answer = await here.post(here.secret_form(client_secret=secret), address=f"198.51.100.{len(secret) % 256}")
        await assert_refused(here, answer, "secret_malformed")
    await assert_refused(here, await here.post(here.secret_form(client_secret=other)), "secret_wrong")
    await assert_refused(here, await here.post(here.secret_form(client_id="unknown")), "client_unknown")
    await assert_refused(here, await here.post({"grant_type": "client_credentials"}), "no_credentials")


async def test_a_secret_is_in_no_representation(here: World) -> None:
    assert here.credential.secret not in repr(here.credential)


async def test_failures_of_an_address_are_slowed_down_after_too_many(here: World) -> None:
    wrong = here.secret_form(client_secret="x")
    for _ in range(MOST):
        assert (await here.post(wrong)).status == 401
    rows = len(await here.store.audit.rows(here.tenant.id))
    answer = await late(here, wrong)
    assert answer.status == 429
    assert int(headers(answer)["Retry-After"]) == 60
    assert len(await here.store.audit.rows(here.tenant.id)) == rows
    assert (await here.post(wrong, address="198.51.100.1")).status == 401
    here.clock.advance(60)
    assert (await here.post(wrong)).status == 401


async def late(here: World, form: dict[str, str], address: str = ADDRESS) -> TokenAnswer:
    """An answer that is held back: nothing comes before its time."""
    asking = asyncio.ensure_future(here.post(form, address=address))
    await settle()
    assert not asking.done()
    here.clock.advance(FAILURE_DELAY / SECOND)
    return await asking


@pytest.mark.parametrize("client_id", ["known", "unknown"])
@pytest.mark.parametrize("by", ["secret", "assertion"])
async def test_correct_credentials_get_a_token_whatever_others_did(here: World, by: str, client_id: str) -> None:
    """L2, at the door: failures at one's address, or with one's client id, lock no caller out."""
    known = {"client_id": here.credential.client_id} if client_id == "known" else {"client_id": "unknown@x/pcc"}
    wrong = here.secret_form(client_secret="x", **known)
    for _ in range(MOST):
        await here.post(wrong)
    failing = [asyncio.ensure_future(here.post(wrong)) for _ in range(200)]
    await settle()
    answer = await (here.post(here.secret_form()) if by == "secret" else here.present(here.go()))
    assert answer.status == 200
    assert not any(task.done() for task in failing)
    here.clock.advance(FAILURE_DELAY / SECOND)
    assert {answer.status for answer in await asyncio.gather(*failing)} == {429}


async def test_of_many_failures_only_so_many_are_held_back(here: World) -> None:
    wrong = here.secret_form(client_secret="x")
    for _ in range(MOST):
        await here.post(wrong)
    failing = [asyncio.ensure_future(here.post(wrong)) for _ in range(MAX_HELD_FAILURES + 10)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in failing) < 10:
            await settle()
    assert sum(task.done() for task in failing) == 10
    here.clock.advance(FAILURE_DELAY / SECOND)
    assert {answer.status for answer in await asyncio.gather(*failing)} == {429}
    assert (await here.post(here.secret_form())).status == 200


async def test_proofs_are_checked_one_in_a_turn_of_the_loop(here: World) -> None:
    turns: list[int] = []
    turn, counting = 0, True
    loop = asyncio.get_running_loop()

    def count() -> None:
        nonlocal turn
        turn += 1
        if counting:
            loop.call_soon(count)

    class Watched:
        """The store's clients; tells in which turn each is looked up, which is done once for each proof."""

        def __getattr__(self, name: str) -> Any:
            if name == "client":
                turns.append(turn)
            return getattr(here.store.access, name)

    here.endpoint = TokenEndpoint(cast(Access, Watched()), here.store.audit, here.clock, here.ids)
    loop.call_soon(count)
    await asyncio.gather(*(here.post(here.secret_form(client_secret="x")) for _ in range(15)))
    counting = False
    assert len(set(turns)) == len(turns) == 15


async def test_a_flood_from_one_address_does_not_delay_another(here: World) -> None:
    checked: list[str] = []

    class Watched:
        """The store's clients; tells whose proofs are checked, in their order."""

        def __getattr__(self, name: str) -> Any:
            return self.client if name == "client" else getattr(here.store.access, name)

        async def client(self, tenant: int, client_id: str) -> Any:
            checked.append(client_id)
            return await here.store.access.client(tenant, client_id)

    here.endpoint = TokenEndpoint(cast(Access, Watched()), here.store.audit, here.clock, here.ids)
    wrong = here.secret_form(client_id="unknown@x/pcc")
    failing = [asyncio.ensure_future(here.post(wrong)) for _ in range(200)]
    asking = asyncio.ensure_future(here.post(here.secret_form(), address="198.51.100.1"))
    assert (await asking).status == 200
    assert checked.index(here.credential.client_id) <= 2
    for task in failing:
        task.cancel()
    await asyncio.gather(*failing, return_exceptions=True)


async def test_an_ipv6_caller_cannot_hop_within_its_network(here: World) -> None:
    wrong = here.secret_form(client_secret="x")
    for n in range(MOST):
        await here.post(wrong, address=f"2001:db8::{n:x}")
    assert (await late(here, wrong, address="2001:db8::ffff")).status == 429
    assert (await here.post(wrong, address="2001:db8:0:1::1")).status == 401


async def test_a_store_that_takes_nothing_is_no_refusal(here: World) -> None:
    await sqlite(here.store).writer.close()
    for form in (here.secret_form(), here.secret_form(client_secret="x")):
        answer = await here.post(form)
        assert (answer.status, content(answer)["error"]) == (503, "temporarily_unavailable")
        assert headers(answer)["Retry-After"] == "1"
