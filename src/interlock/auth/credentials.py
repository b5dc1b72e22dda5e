"""Clients' credentials: the id, the key pair, and the secret text that C1's SDKs read.

The secret text is the private key itself, as a JWK (RFC 8037): only its public half is ever stored.
"""

from __future__ import annotations

import re
from dataclasses import field, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.auth.encoding import from_base64url, to_base64url
from interlock.auth.keys import check_public_key
from interlock.auth.words import ADJECTIVES, ANIMALS
from interlock.contract.guard import loads
from interlock.errors import InvalidArgument
from interlock.ports import Ids, Randomness
from interlock.rules.values import value

SECRET_PREFIX: Final = "secret-token:conductorone.com:v1:"
MAX_SECRET: Final = 2_048
"""Characters of a presented secret that are looked at."""

_CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}@[A-Za-z0-9.:\[\]-]{1,260}/spc", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


_SERVICE: Final = "spc"
"""How C1 marks the id of a client that acts for itself and not for a person."""


@value(frozen=True, slots=True)
class Credential:
    """A new client: what is stored, and the secret that is shown once; empty if the client made its key pair itself."""

    client_id: str
    public_key: bytes
    secret: str = field(repr=False)


def make_credential(ids: Ids, randomness: Randomness, host: str, name: str | None = None) -> Credential:
    """Make a client's credential.

    Args:
        host: the host, with its port if that is not the scheme's own, under which the client will reach the server.
            SDKs read it out of the id; it is never compared with anything.
        name: lower case letters, digits and `._-`; by default two words and a number.

    Raises:
        InvalidArgument: the name or the host cannot stand in a client id.
    """
    seed = sha256(ids.secret().encode()).digest()
    public_key = _public_half(seed)
    made = credential_of_key(randomness, host, public_key, name)
    return replace(made, secret=_secret(seed, public_key))


def credential_of_key(randomness: Randomness, host: str, public_key: bytes, name: str | None = None) -> Credential:
    """Return a credential for the client's own key pair; the server never sees its secret.

    Raises:
        InvalidArgument: The name or the host is not valid in a client id, or the key is invalid.
    """
    if name is None:
        name = (
            f"{_pick(randomness, ADJECTIVES)}-{_pick(randomness, ANIMALS)}-{10_000 + int(randomness.chance() * 90_000)}"
        )
    elif not _NAME.fullmatch(name):
        raise InvalidArgument.at("name", "must be 1 to 64 lower case letters, digits, dots, - or _")
    client_id = f"{name}@{host}/{_SERVICE}"
    if not _CLIENT_ID.fullmatch(client_id):
        raise InvalidArgument.at("host", "must be a host name or address with an optional port")
    check_public_key(public_key)
    return Credential(client_id, public_key, "")


def public_key_of(secret: str) -> bytes | None:
    """The public key that belongs to a secret text; None if it is not one."""
    if len(secret) > MAX_SECRET or not secret.startswith(SECRET_PREFIX):
        return None
    try:
        jwk = loads(from_base64url(secret.removeprefix(SECRET_PREFIX)))
        return _public_half_of(jwk)
    except (ValueError, InvalidArgument):
        return None


def same_key(one: bytes, other: bytes) -> bool:
    """Whether two keys are the same, in a time that does not tell how far they agree."""
    return compare_digest(one, other)


def _public_half_of(jwk: Any) -> bytes | None:
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        return None
    seed_text, x_text = jwk.get("d"), jwk.get("x")
    if not isinstance(seed_text, str) or not isinstance(x_text, str):
        return None
    seed = from_base64url(seed_text)
    if len(seed) != 32:
        return None
    public_key = _public_half(seed)
    return public_key if compare_digest(public_key, from_base64url(x_text)) else None


def _public_half(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _secret(seed: bytes, public_key: bytes) -> str:
    # Exactly these members, without a blank: 129 bytes, hence 172 characters with no padding and no - or _. That is the
    # one form in which every SDK can read it: Go wants no padding, the older Python full padding, TypeScript no - or _.
    jwk = f'{{"crv":"Ed25519","d":"{to_base64url(seed)}","kty":"OKP","x":"{to_base64url(public_key)}"}}'
    return SECRET_PREFIX + to_base64url(jwk.encode("ascii"))


def _pick(randomness: Randomness, words: tuple[str, ...]) -> str:
    return words[int(randomness.chance() * len(words))]
