"""`POST /auth/v1/token`: OAuth 2.0 client credentials (RFC 6749 section 4.4, RFC 7523), free of any transport.

A caller who fails hears the same words whatever the reason, and waits as long for an unknown client as for a known one;
the reason is in the audit record. The proof is checked first, one in a turn of the loop; then failures alone are slowed
down, once their address has had too many.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Final
from weakref import WeakValueDictionary

from interlock.auth.assertion import Refused, check_claims, parse, signed_by
from interlock.auth.bearer import LIFETIME, digest_of, new_token
from interlock.auth.credentials import public_key_of, same_key
from interlock.auth.failures import Failures, caller_group
from interlock.auth.form import BadForm, read_form
from interlock.auth.roles import covers
from interlock.auth.tenants import audiences
from interlock.errors import TooManyRequests, Transient
from interlock.ports import Access, AuditEntry, AuditLog, ClientRow, Clock, Ids, Role
from interlock.rules.model import SECOND, Actor
from interlock.rules.values import value
from interlock.system import yield_to_loop

FAILURE_DELAY: Final = 500_000
"""Microseconds by which the answer to a failure is delayed after too many failures of its address."""
MAX_HELD_FAILURES: Final = 1_000
"""Maximum number of delayed answers; above it answers are sent immediately."""
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_PLACEHOLDER_KEY: Final = bytes.fromhex("58" + "66" * 31)
"""Public key (the curve's base point) for the check of an unknown client, so that it takes the same time."""
_TOO_MANY: Final = (
    "client authentication failed, as too often from this address; correct credentials are accepted at once"
)
_CLIENT_ID: Final = re.compile(r"[\x21-\x7e]{1,340}", re.ASCII)
_ANSWER_HEADERS: Final = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("Pragma", "no-cache"),
)


@value(frozen=True, slots=True)
class TokenRequest:
    """A POST to the token endpoint.

    `host` is the normal form of the host it was sent to, `tenant` who answers to that; `headers` have lower case names;
    `query` is the raw query string, without the question mark; `address` the caller's.
    """

    tenant: int
    host: str
    address: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""


@value(frozen=True, slots=True)
class TokenAnswer:
    """What goes back."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


@value(frozen=True, slots=True)
class _Proven:
    """A client that has shown who it is."""

    client: ClientRow
    method: str
    assertion: bytes | None


class _Invalid(Exception):
    """The request cannot be carried out as it was put; an error code of RFC 6749 section 5.2."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


class TokenEndpoint:
    """Issues access tokens.

    Args:
        lifetime: of a token, in seconds.
    """

    def __init__(self, access: Access, audit: AuditLog, clock: Clock, ids: Ids, *, lifetime: int = LIFETIME) -> None:
        self._access = access
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self._lifetime = lifetime
        self._failures = Failures()
        self._checking = asyncio.Lock()
        self._checking_by_caller: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._held = 0

    async def answer(self, request: TokenRequest) -> TokenAnswer:
        """Answer one request. Everything that can go wrong is an answer too."""
        try:
            return await self._answer(request)
        except BadForm as error:
            return _error(error.status, "invalid_request", error.description)
        except _Invalid as error:
            return _error(400, error.error, error.description)
        except Transient as error:
            status = 429 if isinstance(error, TooManyRequests) else 503
            wait = ("Retry-After", str(error.retry_after))
            return _error(status, "temporarily_unavailable", error.message, wait)

    async def _answer(self, request: TokenRequest) -> TokenAnswer:
        form = read_form(request.headers, request.query, request.body)
        basic = request.headers.get("authorization", "").lower().startswith("basic ")
        _check_methods(form, basic=basic)
        try:
            # Checking a proof is the costly part: one in a turn of the loop, so that it holds up no stop. Each address
            # has one in that queue and the rest of its own behind it, so that a flood from one delays no other.
            async with self._queue_of(request.address), self._checking:
                await yield_to_loop()
                proven = await self._prove(request, form)
            return await self._issue(request, form, proven)
        except Refused as refused:
            return await self._refuse(request, form, refused.cause, basic=basic)

    def _queue_of(self, address: str) -> asyncio.Lock:
        return self._checking_by_caller.setdefault(caller_group(address), asyncio.Lock())

    # --- who it is ------------------------------------------------------------------------------------------------

    async def _prove(self, request: TokenRequest, form: Mapping[str, str]) -> _Proven:
        if "client_assertion" in form:
            proven = await self._by_assertion(request, form)
        elif "client_secret" in form:
            proven = await self._by_secret(request, form)
        else:
            raise Refused("no_credentials")
        now = self._clock.wall()
        if proven.client.revoked_at is not None:
            raise Refused("client_revoked")
        if proven.client.expires_at is not None and proven.client.expires_at <= now:
            raise Refused("client_expired")
        return proven

    async def _by_assertion(self, request: TokenRequest, form: Mapping[str, str]) -> _Proven:
        if form["client_assertion_type"] != ASSERTION_TYPE:
            raise Refused("assertion_type_unknown")
        assertion = parse(form["client_assertion"])
        client_id = form.get("client_id", assertion.client_id)
        client = await self._find(request.tenant, client_id)
        signed = signed_by(assertion, _PLACEHOLDER_KEY if client is None else client.public_key)
        if client is None:
            raise Refused("client_unknown")
        if not signed:
            raise Refused("assertion_signature")
        check_claims(assertion, client.id, audiences(request.host), self._clock.wall())
        return _Proven(client, "assertion", assertion.replay_digest(client.id))

    async def _by_secret(self, request: TokenRequest, form: Mapping[str, str]) -> _Proven:
        presented = public_key_of(form["client_secret"])
        client = await self._find(request.tenant, form.get("client_id"))
        if presented is None:
            raise Refused("secret_malformed")
        same = same_key(presented, _PLACEHOLDER_KEY if client is None else client.public_key)
        if client is None:
            raise Refused("client_unknown")
        if not same:
            raise Refused("secret_wrong")
        return _Proven(client, "secret", None)

    async def _find(self, tenant: int, client_id: str | None) -> ClientRow | None:
        if client_id is None or not _CLIENT_ID.fullmatch(client_id):
            return None
        return await self._access.client(tenant, client_id)

    # --- the answers ----------------------------------------------------------------------------------------------

    async def _issue(self, request: TokenRequest, form: Mapping[str, str], proven: _Proven) -> TokenAnswer:
        client = proven.client
        scope = _scope(form.get("scope", ""), client)
        token = new_token(self._ids)
        now = self._clock.wall()
        details = {"method": proven.method, "scope": " ".join(scope), "lifetime": self._lifetime}
        entry = AuditEntry(
            actor=Actor(client.id, request.address, client.id),
            action="token.issue",
            target=f"client:{client.id}",
            details=json.dumps(details).encode(),
        )
        fresh = await self._access.issue(
            request.tenant,
            client.id,
            digest_of(token),
            now,
            now + self._lifetime * SECOND,
            proven.assertion,
            entry,
            scope=scope,
        )
        if not fresh:
            raise Refused("assertion_replayed")
        body = {"access_token": token, "token_type": "Bearer", "expires_in": self._lifetime}
        return TokenAnswer(200, json.dumps(body).encode(), _ANSWER_HEADERS)

    async def _refuse(self, request: TokenRequest, form: Mapping[str, str], cause: str, *, basic: bool) -> TokenAnswer:
        now = self._clock.now()
        wait = self._failures.wait(request.address, now)
        if wait:
            await self._hold_back(now)
            raise TooManyRequests(_TOO_MANY, retry_after=wait)
        self._failures.add(request.address, now)
        presented = form.get("client_id", "")
        client = presented if _CLIENT_ID.fullmatch(presented) else ""
        entry = AuditEntry(
            actor=Actor(client, request.address),
            action="token.issue",
            target=f"client:{client}",
            outcome="denied",
            reason=cause,
        )
        await self._audit.refuse(request.tenant, self._clock.wall(), entry)
        challenge = ("WWW-Authenticate", f'{"Basic" if basic else "Bearer"} realm="{request.host}"')
        return _error(401, "invalid_client", "client authentication failed", challenge)

    async def _hold_back(self, now: int) -> None:
        if self._held >= MAX_HELD_FAILURES:
            return
        self._held += 1
        try:
            await self._clock.sleep_until(now + FAILURE_DELAY)
        finally:
            self._held -= 1


def _check_methods(form: Mapping[str, str], *, basic: bool) -> None:
    """Refuse an invalid form, independent of the client."""
    if sum((basic, "client_secret" in form, "client_assertion" in form)) > 1:
        raise _Invalid("invalid_request", "use one way of authentication, not several")
    if ("client_assertion" in form) != ("client_assertion_type" in form):
        raise _Invalid("invalid_request", "client_assertion and client_assertion_type go together")
    grant = form.get("grant_type")
    if grant is None:
        raise _Invalid("invalid_request", "grant_type is missing; it must be client_credentials")
    if grant != "client_credentials":
        raise _Invalid("unsupported_grant_type", "grant_type must be client_credentials")


def _scope(asked: str, client: ClientRow) -> tuple[Role, ...]:
    """The roles that the token is narrowed to; none if nothing was asked for."""
    try:
        scope = tuple(dict.fromkeys(Role(name) for name in asked.split(" ") if name))
    except ValueError:
        raise _Invalid("invalid_scope", f"scope takes: {' '.join(Role)}") from None
    if not covers(client.roles, scope):
        raise _Invalid("invalid_scope", "scope asks for more than this client may do")
    return scope


def _error(status: int, error: str, description: str, *headers: tuple[str, str]) -> TokenAnswer:
    body = json.dumps({"error": error, "error_description": description}).encode()
    return TokenAnswer(status, body, _ANSWER_HEADERS + headers)
