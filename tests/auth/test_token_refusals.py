"""Who does not get a token; and that they all hear the same."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.auth.assertion import MAX_AHEAD, SKEW
from interlock.auth.bearer import Bearer
from interlock.auth.credentials import SECRET_PREFIX
from interlock.auth.failures import MOST
from interlock.auth.token_endpoint import FAILURE_DELAY, MAX_HELD_FAILURES, TokenAnswer, TokenEndpoint
from interlock.errors import Unauthenticated
from interlock.ports import Access, AuditEntry, Role
from interlock.rules.model import SECOND, SYSTEM
from tests.auth.clients import ADDRESS, HOST, World, b64, content, forge, headers, with_client
from tests.clocks import settle
from tests.store.stores import sqlite

pytestmark = pytest.mark.anyio

ORDER = 2**252 + 27742317777372353535851937790883648493
NOW = 1_750_000_000
HS256 = b'{"alg":"HS256"}'


async def assert_refused(here: World, answer: TokenAnswer, cause: str) -> None:
    assert answer.status == 401, content(answer)
    assert content(answer) == {"error": "invalid_client", "error_description": "client authentication failed"}
    assert headers(answer)["WWW-Authenticate"] == f'Bearer realm="{HOST}"'
    entry = (await here.audited()).entry
    assert (entry.action, entry.outcome, entry.reason) == ("token.issue", "denied", cause)


@pytest.mark.parametrize(
    "kind",
    [
        " urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
    ],
)
async def test_another_type_of_assertion(here: World, kind: str) -> None:
    answer = await here.present(here.go(), client_assertion_type=kind)
    await assert_refused(here, answer, "assertion_type_unknown")


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "nOnE", "", "HS256", "RS256", "ES256", "ES256K", "Ed448", "PS512", "eddsa", 1, None],
    ids=repr,
)
async def test_another_algorithm_though_rightly_signed(here: World, algorithm: Any) -> None:
    header = {} if algorithm is None else {"alg": algorithm}
    await assert_refused(here, await here.present(forge(header, here.claims(), here.key)), "assertion_algorithm")


async def test_signatures_of_other_algorithms_with_what_an_attacker_knows(here: World) -> None:
    public, claims = here.credential.public_key, here.claims()
    signed = f"{b64(HS256)}.{b64(json.dumps(claims).encode())}"
    pem = Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": b64(public)}).encode()
    tokens = [f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}" for secret in (public, pem, jwk)]
    tokens.append(jwt.encode(claims, rsa.generate_private_key(65537, 2048), algorithm="RS256"))
    tokens.append(jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"))
    for token in tokens:
        await assert_refused(here, await here.present(token), "assertion_algorithm")
    other = Ed448PrivateKey.generate()
    await assert_refused(here, await here.present(jwt.encode(claims, other, algorithm="EdDSA")), "assertion_signature")


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
async def test_a_key_that_the_assertion_brings_along(here: World, member: str) -> None:
    attacker = Ed25519PrivateKey.generate()
    key = {"kty": "OKP", "crv": "Ed25519", "x": b64(attacker.public_key().public_bytes_raw())}
    header = {"alg": "EdDSA", member: key if member == "jwk" else "https://attacker.example/key"}
    await assert_refused(here, await here.present(forge(header, here.claims(), attacker)), "assertion_brings_key")


@pytest.mark.parametrize("kid", ["x", "' OR 1=1 --", "../../etc/passwd", "https://attacker.example/"])
async def test_a_key_id_says_nothing(here: World, kid: str) -> None:
    assert (await here.present(forge({"alg": "EdDSA", "kid": kid}, here.claims(), here.key))).status == 200


@pytest.mark.parametrize(
    "extra", [{"crit": ["b64"], "b64": False}, {"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}, {"cty": "JWT"}]
)
async def test_unusual_headers(here: World, extra: dict[str, Any]) -> None:
    token = forge({"alg": "EdDSA", **extra}, here.claims(), here.key)
    await assert_refused(here, await here.present(token), "assertion_unusual_header")


@pytest.mark.parametrize("kind", ["at+jwt", "dpop+jwt", "logout+jwt", "", 7, None], ids=repr)
async def test_a_token_of_another_type(here: World, kind: Any) -> None:
    await assert_refused(
        here, await here.present(forge({"alg": "EdDSA", "typ": kind}, here.claims(), here.key)), "assertion_type"
    )


@pytest.mark.parametrize("kind", ["JWT", "jwt", "client-authentication+jwt"])
async def test_a_token_of_a_right_type_is_accepted(here: World, kind: str) -> None:
    assert (await here.present(forge({"alg": "EdDSA", "typ": kind}, here.claims(), here.key))).status == 200


async def test_other_serialisations(here: World) -> None:
    header, payload, signature = here.go().split(".")
    as_json = json.dumps({"protected": header, "payload": payload, "signature": signature})
    for text in (
        as_json,
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}.x.y",
        f"{header}..{signature}",
        "..",
        "x",
    ):
        answer = await here.present(text)
        assert answer.status == 401
    token = content(await here.post(here.secret_form()))["access_token"]
    await assert_refused(here, await here.present(token), "assertion_not_compact_jws")


async def test_any_spelling_of_the_encoding_but_the_one(here: World) -> None:
    token = here.go()
    header, payload, signature = token.split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    tail = signature[:-1] + last[last.index(signature[-1]) + 1]
    spellings = [
        f"{token}==",
        f" {token}",
        f"{token}\n",
        f"{token}!",
        f"{header}.{payload}.{tail}",
        f"{header}=.{payload}.{signature}",
    ]
    for text in spellings:
        await assert_refused(here, await here.present(text), "assertion_malformed")


@pytest.mark.parametrize(
    "claims",
    [
        b'{"exp":1750000100,"exp":1}',
        b'{"exp":NaN}',
        b'{"exp":1e999}',
        b"\xef\xbb\xbf{}",
        b'{"iss":"\xff"}',
        b'{"iss":"\\ud800"}',
        b"[" * 5_000,
        b"[]",
        b"null",
        b'"text"',
        b"",
        b"{",
    ],
)
async def test_claims_that_are_not_one_plain_object(here: World, claims: bytes) -> None:
    await assert_refused(here, await here.present(forge({"alg": "EdDSA"}, claims, here.key)), "assertion_malformed")


async def test_a_header_with_a_name_twice(here: World) -> None:
    token = forge(b'{"alg":"none","alg":"EdDSA"}', here.claims(), here.key)
    await assert_refused(here, await here.present(token), "assertion_malformed")


async def test_a_signature_that_is_not_the_one_signature(here: World) -> None:
    token = here.go()
    signed, _, text = token.rpartition(".")
    signature = base64.urlsafe_b64decode(text + "==")
    s = int.from_bytes(signature[32:], "little")
    changed = [
        signature[:-1],
        signature + b"\0",
        bytes(64),
        signature[:32] + (s + ORDER).to_bytes(32, "little"),
        bytes([signature[0] ^ 1]) + signature[1:],
        Ed25519PrivateKey.generate().sign(signed.encode()),
        here.key.sign(b"something else"),
    ]
    for other in changed:
        await assert_refused(here, await here.present(f"{signed}.{b64(other)}"), "assertion_signature")
    payload = b64(json.dumps(here.claims(exp=NOW + 200)).encode())
    await assert_refused(here, await here.present(f"{signed.split('.')[0]}.{payload}.{text}"), "assertion_signature")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"exp": None}, "assertion_no_expiry"),
        ({"exp": NOW - SKEW - 1}, "assertion_expired"),
        ({"exp": NOW - SKEW + 1}, None),
        ({"exp": NOW + MAX_AHEAD + SKEW - 1}, None),
        ({"exp": NOW + MAX_AHEAD + SKEW + 1}, "assertion_expires_too_late"),
        ({"exp": True}, "assertion_exp_malformed"),
        ({"exp": str(NOW + 100)}, "assertion_exp_malformed"),
        ({"exp": [NOW + 100]}, "assertion_exp_malformed"),
        ({"nbf": NOW + SKEW - 1}, None),
        ({"nbf": NOW + SKEW + 1}, "assertion_not_yet_valid"),
        ({"nbf": NOW + 10, "exp": NOW + 9}, "assertion_not_yet_valid"),
        ({"nbf": "0"}, "assertion_nbf_malformed"),
        ({"iat": NOW + SKEW - 1}, None),
        ({"iat": NOW + SKEW + 1}, "assertion_issued_in_future"),
        ({"iat": NOW - 599}, None),
        ({"iat": NOW - 601}, "assertion_too_old"),
        ({"iat": False}, "assertion_iat_malformed"),
        ({"nbf": None, "iat": None}, None),
        ({"exp": NOW + 60.5}, None),
    ],
)
async def test_times_that_do_not_fit(here: World, changes: dict[str, Any], cause: str | None) -> None:
    answer = await here.present(here.assertion(**({"nbf": None, "iat": None} | changes)))
    if cause is None:
        assert answer.status == 200
    else:
        await assert_refused(here, answer, cause)


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "other.example",
        "*",
        "",
        [],
        [HOST, "other.example"],
        [HOST, HOST],
        [[HOST]],
        f"{HOST}:8080",
        f"http://{HOST}/auth/v1/token",
        f"{HOST}.",
        f"x.{HOST}",
        "0.0.1",
        "１２７.0.0.1",
        {"host": HOST},
        7,
    ],
)
async def test_an_assertion_for_somebody_else(here: World, audience: Any) -> None:
    await assert_refused(here, await here.present(here.assertion(aud=audience)), "assertion_audience")


@pytest.mark.parametrize(
    ("host", "audience"),
    [("localhost", "localhost"), ("localhost", ["LocalHost"]), ("::1", "::1"), ("::1", ["[::1]"]), ("127.0.0.1", HOST)],
)
async def test_the_audience_is_the_host_the_server_is_reached_under(here: World, host: str, audience: Any) -> None:
    assert (await here.post(here.form(here.assertion(aud=audience)), host=host)).status == 200
    assert (await here.post(here.form(here.assertion(aud=audience, n=1)), host="other.example")).status == 401


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
    claims = here.claims(iss="nobody@x/pcc", sub="nobody@x/pcc")
    unknown = await here.present(forge({"alg": "EdDSA"}, claims, attacker), client_id="nobody@x/pcc")
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
    await assert_refused(here, await here.post(here.secret_form(client_id="nobody")), "client_unknown")
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
    known = {"client_id": here.credential.client_id} if client_id == "known" else {"client_id": "nobody@x/pcc"}
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
    wrong = here.secret_form(client_id="nobody@x/pcc")
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
