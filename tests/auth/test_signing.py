"""The key set is what a verifier needs, and no more."""

from __future__ import annotations

import jwt

from interlock.auth.signing import SigningKey

SEED = bytes(range(32))


def test_a_verifier_can_use_the_public_half_as_it_is_published() -> None:
    key = SigningKey(SEED)
    (published,) = jwt.PyJWKSet.from_dict(key.key_set()).keys
    own = jwt.PyJWK.from_dict({**key.jwk, "d": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"})
    token = jwt.encode({"iss": "here"}, own.key, "EdDSA", {"kid": key.id})
    assert jwt.decode(token, published.key, ["EdDSA"]) == {"iss": "here"}
    assert published.key_id == key.id


def test_nothing_secret_is_published() -> None:
    assert set(SigningKey(SEED).jwk) == {"alg", "crv", "kid", "kty", "use", "x"}


def test_the_key_and_its_id_are_the_same_after_every_start() -> None:
    assert SigningKey(SEED).jwk == SigningKey(SEED).jwk
    assert SigningKey(SEED).id != SigningKey(bytes(32)).id
