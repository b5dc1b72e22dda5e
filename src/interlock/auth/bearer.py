"""Bearer tokens (RFC 6750): opaque text of which only the SHA-256 is stored."""

from __future__ import annotations

from binascii import crc32
from hashlib import sha256
from typing import Final

from interlock.auth.encoding import to_base62
from interlock.auth.known import Known
from interlock.auth.roles import Permission, app_permissions_of, permissions_of
from interlock.errors import Unauthenticated
from interlock.ports import Access, Clock, Ids, Role
from interlock.rules.values import value

LIFETIME: Final = 3_600
"""Seconds. Shorter would break C1's TypeScript SDK, which keeps a token for an hour whatever it is told."""

MOST_KNOWN: Final = 10_000
"""Tokens remembered at a time."""

_PREFIX: Final = "interlock_at_"
_LENGTH: Final = len(_PREFIX) + 43 + 1 + 6
_REFUSED: Final = "the access token is not valid; ask POST /auth/v1/token for a new one"


@value(frozen=True, slots=True)
class Principal:
    """Who is calling, and what they may do."""

    tenant: int
    client: str
    roles: tuple[Role, ...]
    permissions: frozenset[Permission]
    """Throughout the tenant."""
    apps: frozenset[str] = frozenset()
    app_permissions: frozenset[Permission] = frozenset()
    """Within those apps."""

    def apps_for(self, permission: Permission | None) -> frozenset[str] | None:
        """The apps within which the permission is given; None: everywhere."""
        return None if permission is None or permission in self.permissions else self.apps


def new_token(ids: Ids) -> str:
    """A token: 256 random bits in base62 behind a prefix that secret scanners can find, and a check sum."""
    body = to_base62(int.from_bytes(sha256(ids.secret().encode()).digest(), "big"), 43)
    return f"{_PREFIX}{body}_{to_base62(crc32(body.encode('ascii')), 6)}"


def digest_of(token: str) -> bytes:
    """What is stored of a token."""
    return sha256(token.encode("ascii")).digest()


class Bearer:
    """Tells who presents a token. What it found is remembered until it expires or anything is revoked; so a revoked
    token is dead with the commit that revokes it."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._known: Known[tuple[int, str], tuple[int, Principal]] = Known(access, MOST_KNOWN)

    async def authenticate(self, tenant: int, authorization: str | None) -> Principal:
        """The caller behind an Authorization header.

        Raises:
            Unauthenticated: with the same message whatever is wrong with the token that was presented.
        """
        if not authorization:
            raise Unauthenticated
        known = self._known.get((tenant, authorization))
        if known is not None and self._clock.wall() < known[0]:
            return known[1]
        scheme, _, token = authorization.partition(" ")
        token = token.strip(" ")
        # Whatever else is wrong with it, no stored digest will be its digest.
        if scheme.lower() != "bearer" or len(token) != _LENGTH or not token.isascii():
            raise Unauthenticated(_REFUSED, token_presented=True)
        generation = self._known.generation
        row = await self._access.token(tenant, digest_of(token))
        now = self._clock.wall()
        if row is None or row.expires_at <= now:
            raise Unauthenticated(_REFUSED, token_presented=True)
        client = row.client
        if client.revoked_at is not None or (client.expires_at is not None and client.expires_at <= now):
            raise Unauthenticated(_REFUSED, token_presented=True)
        principal = Principal(
            tenant,
            client.id,
            client.roles,
            permissions_of(client.roles, row.scope),
            frozenset(client.apps),
            app_permissions_of(client.roles, row.scope),
        )
        until = row.expires_at if client.expires_at is None else min(row.expires_at, client.expires_at)
        # A token that was read before a revocation must not be kept after it.
        self._known.keep((tenant, authorization), (until, principal), generation)
        return principal
