"""Refused token requests with forged or damaged assertions; every refusal is the same."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.auth.assertion import MAX_AHEAD, SKEW
from tests.auth.clients import HOST, World, b64, content, forge
from tests.auth.refusals import assert_refused

pytestmark = pytest.mark.anyio

ORDER = 2**252 + 27742317777372353535851937790883648493
NOW = 1_750_000_000
HS256 = b'{"alg":"HS256"}'


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
async def test_an_assertion_for_another_audience(here: World, audience: Any) -> None:
    await assert_refused(here, await here.present(here.assertion(aud=audience)), "assertion_audience")


@pytest.mark.parametrize(
    ("host", "audience"),
    [("localhost", "localhost"), ("localhost", ["LocalHost"]), ("::1", "::1"), ("::1", ["[::1]"]), ("127.0.0.1", HOST)],
)
async def test_the_audience_is_the_host_the_server_is_reached_under(here: World, host: str, audience: Any) -> None:
    assert (await here.post(here.form(here.assertion(aud=audience)), host=host)).status == 200
    assert (await here.post(here.form(here.assertion(aud=audience, n=1)), host="other.example")).status == 401
