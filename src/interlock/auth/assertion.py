"""Signed client assertions (RFC 7523): a JWS that a client signs to show who it is.

What clients send differs: a nonce in the header or in the claims or nowhere, the audience as text or as a list of one.
What is let through besides that is nothing. The algorithm and the key come from the registration and never from the
assertion (RFC 8725): `EdDSA` with an Ed25519 key is `Ed25519` (RFC 9864).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from interlock.auth.encoding import from_base64url
from interlock.contract.guard import loads
from interlock.errors import InvalidArgument, Unauthenticated
from interlock.rules.values import value

SKEW: Final = 30
"""Seconds by which a client's clock may differ from ours."""
MAX_AHEAD: Final = 300
"""Seconds from now within which an assertion must expire."""
MAX_AGE: Final = 600
"""Seconds since an assertion was issued, if it says when."""

_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519"})
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})
_KEY_MEMBERS: Final = frozenset({"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"})
_FORM_MEMBERS: Final = frozenset({"crit", "b64", "zip", "cty", "enc"})


class Refused(Unauthenticated):
    """An assertion is not accepted. `cause` is for the audit record alone: callers hear nothing of it."""

    def __init__(self, cause: str) -> None:
        super().__init__()
        self.cause = cause


@value(frozen=True, slots=True)
class Assertion:
    """An assertion whose form is right; its signature and its claims are not looked at yet."""

    text: str
    claims: dict[str, Any]
    signature: bytes

    @property
    def client_id(self) -> str | None:
        """The client that it says it is from: issuer and subject agree. None if they do not."""
        issuer = self.claims.get("iss")
        return issuer if isinstance(issuer, str) and issuer == self.claims.get("sub") else None

    def replay_digest(self, client_id: str) -> bytes:
        """Names this assertion among all of a tenant's: the same claims signed again are the same one."""
        return sha256(f"{client_id}\0{self.signed}".encode()).digest()

    @property
    def signed(self) -> str:
        """The part that the signature is over."""
        return self.text.rpartition(".")[0]


def parse(text: str) -> Assertion:
    """Read an assertion's form.

    Raises:
        Refused: it is not a JWS in compact form with an Ed25519 signature and nothing unusual about it.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise Refused("assertion_not_compact_jws")
    try:
        header, claims = loads(from_base64url(parts[0])), loads(from_base64url(parts[1]))
        signature = from_base64url(parts[2])
    except (ValueError, InvalidArgument):
        raise Refused("assertion_malformed") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Refused("assertion_malformed")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise Refused("assertion_algorithm")
    if not _KEY_MEMBERS.isdisjoint(header):
        raise Refused("assertion_brings_key")
    if not _FORM_MEMBERS.isdisjoint(header):
        raise Refused("assertion_unusual_header")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Refused("assertion_type")
    if len(signature) != 64:
        raise Refused("assertion_signature")
    return Assertion(text, claims, signature)


def signed_by(assertion: Assertion, public_key: bytes) -> bool:
    """Whether the assertion is signed with the key that belongs to `public_key` (RFC 7515 section 5.2, RFC 8037)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(assertion.signature, assertion.signed.encode("ascii"))
    except InvalidSignature:
        return False
    return True


def check_claims(assertion: Assertion, client_id: str, audiences: frozenset[str], now: int) -> None:
    """Check who it is from, whom it is for, and when it holds. `now` is wall time in microseconds.

    Raises:
        Refused: with the first claim that does not hold.
    """
    claims = assertion.claims
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise Refused("assertion_subject")
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    # Several audiences, or the endpoint's URL, would let another server pass on what it was shown.
    if not isinstance(audience, str) or not audience.isascii() or audience.lower() not in audiences:
        raise Refused("assertion_audience")
    seconds = now / 1_000_000
    expires = _date(claims, "exp")
    if expires is None:
        raise Refused("assertion_no_expiry")
    if expires < seconds - SKEW:
        raise Refused("assertion_expired")
    if expires > seconds + MAX_AHEAD + SKEW:
        raise Refused("assertion_expires_too_late")
    not_before = _date(claims, "nbf")
    if not_before is not None and (not_before > seconds + SKEW or not_before > expires):
        raise Refused("assertion_not_yet_valid")
    issued = _date(claims, "iat")
    if issued is not None and issued > seconds + SKEW:
        raise Refused("assertion_issued_in_future")
    if issued is not None and issued < seconds - MAX_AGE:
        raise Refused("assertion_too_old")


def _date(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"assertion_{name}_malformed")
    return value
