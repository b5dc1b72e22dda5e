"""Credentials that every SDK can read, and keys that may be registered."""

from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from interlock.auth.credentials import SECRET_PREFIX, make_credential, public_key_of
from interlock.auth.encoding import from_base64url, to_base64url
from interlock.auth.keys import check_public_key
from interlock.errors import InvalidArgument
from tests.clocks import FixedChance, SequentialIds

P = 2**255 - 19
EIGHTH = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


@given(seed=st.integers(0, 10**40), chance=st.floats(0, 1, exclude_max=True))
def test_any_secret_can_be_read_by_every_sdk(seed: int, chance: float) -> None:
    made = make_credential(SequentialIds(seed), FixedChance(chance), "127.0.0.1:8443")
    assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9]{5}@127\.0\.0\.1:8443/spc", made.client_id)
    assert made.secret.count(":") == 3
    encoded = made.secret.removeprefix(SECRET_PREFIX)
    # No padding to add or to take away, and nothing in which the two alphabets differ.
    assert re.fullmatch(r"[0-9A-Za-z]{172}", encoded)
    jwk = json.loads(base64.b64decode(encoded))
    assert list(jwk) == ["crv", "d", "kty", "x"]
    assert public_key_of(made.secret) == made.public_key == from_base64url(jwk["x"])
    private = Ed25519PrivateKey.from_private_bytes(from_base64url(jwk["d"]))
    assert private.public_key().public_bytes_raw() == made.public_key


@given(st.text(max_size=300))
def test_whatever_is_presented_as_a_secret_is_looked_at_calmly(text: str) -> None:
    assert public_key_of(text) is None
    assert public_key_of(SECRET_PREFIX + text) is None
    assert public_key_of(SECRET_PREFIX + to_base64url(text.encode(errors="replace"))) is None


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a@b", "a/b", "-a", "é", "a" * 65])
def test_a_name_that_would_not_fit_into_a_client_id(name: str) -> None:
    with pytest.raises(InvalidArgument, match="name: must be"):
        make_credential(SequentialIds(), FixedChance(), "localhost", name=name)


@pytest.mark.parametrize("host", ["", "a/b", "a@b", "a b", "x" * 300])
def test_a_host_that_would_not_fit_into_a_client_id(host: str) -> None:
    with pytest.raises(InvalidArgument, match="host: must be"):
        make_credential(SequentialIds(), FixedChance(), host, name="ci")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8443", "[::1]:8443", "acme.example"])
def test_a_host_may_have_a_port(host: str) -> None:
    assert make_credential(SequentialIds(), FixedChance(), host, name="ci").client_id == f"ci@{host}/spc"


@given(st.binary(min_size=32, max_size=32))
def test_the_public_half_of_any_private_key_may_be_registered(seed: bytes) -> None:
    check_public_key(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


SMALL = [encoded(1), encoded(P - 1), encoded(0), encoded(0, 1), EIGHTH]
SMALL += [EIGHTH[:31] + bytes([EIGHTH[31] | 0x80])]
SMALL += [encoded(P - int.from_bytes(EIGHTH, "little"), sign) for sign in (0, 1)]


@pytest.mark.parametrize("key", SMALL, ids=bytes.hex)
def test_a_point_of_small_order_may_not(key: bytes) -> None:
    with pytest.raises(InvalidArgument, match="small order"):
        check_public_key(key)


@pytest.mark.parametrize(
    "key", [encoded(y) for y in (P, P + 1, 2**255 - 1)] + [encoded(1, 1), encoded(P - 1, 1)], ids=bytes.hex
)
def test_a_second_encoding_of_a_point_may_not(key: bytes) -> None:
    with pytest.raises(InvalidArgument, match="canonical"):
        check_public_key(key)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), encoded(2)], ids=len)
def test_what_is_no_point_may_not(key: bytes) -> None:
    with pytest.raises(InvalidArgument, match="publicKey"):
        check_public_key(key)


@given(st.binary(max_size=40))
def test_bytes_have_one_spelling(value: bytes) -> None:
    text = to_base64url(value)
    assert from_base64url(text) == value
    for other in (text + "=", text + "A", " " + text, text + "\n"):
        try:
            assert from_base64url(other) != value
        except ValueError:
            pass


@given(st.text("ABCwxyz0189-_", max_size=12))
def test_text_that_decodes_is_the_text_that_encoding_makes(text: str) -> None:
    try:
        value = from_base64url(text)
    except ValueError:
        return
    assert to_base64url(value) == text
