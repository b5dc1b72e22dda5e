"""Clients as the SDKs are, and as attackers are."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import OKPKey

from interlock.auth.credentials import SECRET_PREFIX, Credential, make_credential
from interlock.auth.tenants import ensure_default_tenant
from interlock.auth.token_endpoint import ASSERTION_TYPE, TokenAnswer, TokenEndpoint, TokenRequest
from interlock.ports import AuditEntry, AuditRow, ClientRow, Role, Store, TenantRow
from interlock.rules.model import SYSTEM
from interlock.store.sqlite.store import SqliteStore
from tests.clocks import FixedChance, ManualClock, SequentialIds

HOST = "127.0.0.1"
ADDRESS = "203.0.113.7"
MADE = AuditEntry(actor=SYSTEM, action="client.create", target="x")


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def private_key(credential: Credential) -> Ed25519PrivateKey:
    encoded = credential.secret.removeprefix(SECRET_PREFIX)
    seed = json.loads(base64.b64decode(encoded))["d"]
    return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(seed + "="))


def forge(header: bytes | Mapping[str, Any], claims: bytes | Mapping[str, Any], key: Ed25519PrivateKey) -> str:
    """A compact JWS over whatever bytes, rightly signed."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = f"{b64(parts[0])}.{b64(parts[1])}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


@dataclass
class World:
    """A token endpoint over a store in memory, with one tenant and one client."""

    store: Store
    clock: ManualClock
    ids: SequentialIds
    endpoint: TokenEndpoint
    tenant: TenantRow
    credential: Credential

    @property
    def seconds(self) -> int:
        return self.clock.wall() // 1_000_000

    @property
    def key(self) -> Ed25519PrivateKey:
        return private_key(self.credential)

    async def client(self, *roles: Role, expires_at: int | None = None, tenant: int | None = None) -> Credential:
        made = make_credential(self.ids, FixedChance(), HOST, name=f"client-{self.ids.execution()}")
        owner = self.tenant.id if tenant is None else tenant
        row = ClientRow(
            tenant=owner,
            id=made.client_id,
            display_name="",
            public_key=made.public_key,
            roles=roles,
            created_at=self.clock.now(),
            expires_at=expires_at,
        )
        await self.store.access.create_client(row, MADE)
        return made

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What every SDK says; a change to None leaves a claim out."""
        now, me = self.seconds, self.credential.client_id
        claims = {"iss": me, "sub": me, "aud": HOST, "exp": now + 120, "nbf": now - 120, "iat": now} | changes
        return {name: value for name, value in claims.items() if value is not None}

    def assertion(self, **changes: Any) -> str:
        return forge({"alg": "EdDSA"}, self.claims(**changes), self.key)

    def go(self) -> str:
        return forge({"alg": "EdDSA", "nonce": "93bea76c9292c6c1"}, self.claims(aud=[HOST]), self.key)

    def typescript(self) -> str:
        # The library's own signer, under the name that RFC 9864 gives the algorithm.
        registry = jws.JWSRegistry(algorithms=["Ed25519"], strict_check_header=False)
        header = {"alg": "Ed25519", "nonce": "336a21ec6ec040c4c5204c7ebcca3dcb"}
        payload = json.dumps(self.claims(aud=[HOST])).encode()
        return jws.serialize_compact(header, payload, OKPKey.import_key(self.key), registry=registry)

    def python(self) -> str:
        return jwt.encode(self.claims(nonce="fR-LQGvLZTtW_mJjjA-IbQ"), self.key, algorithm="EdDSA")

    def form(self, assertion: str, **changes: str | None) -> dict[str, str]:
        form: dict[str, str | None] = {
            "client_id": self.credential.client_id,
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return {name: value for name, value in (form | changes).items() if value is not None}

    def secret_form(self, **changes: str) -> dict[str, str]:
        form = {"client_id": self.credential.client_id, "client_secret": self.credential.secret}
        return {"grant_type": "client_credentials", **form, **changes}

    async def post(
        self,
        form: Mapping[str, str] | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        address: str = ADDRESS,
        host: str = HOST,
        tenant: int | None = None,
    ) -> TokenAnswer:
        body = form if isinstance(form, bytes) else urlencode(form).encode()
        sent = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        owner = self.tenant.id if tenant is None else tenant
        return await self.endpoint.answer(TokenRequest(owner, host, address, sent, body, query))

    async def present(self, assertion: str, **changes: str | None) -> TokenAnswer:
        return await self.post(self.form(assertion, **changes))

    async def audited(self) -> AuditRow:
        return (await self.store.audit.rows(self.tenant.id))[-1]


@asynccontextmanager
async def endpoint_world() -> AsyncIterator[World]:
    store = SqliteStore(None)
    clock, ids = ManualClock(), SequentialIds()
    try:
        tenant = await ensure_default_tenant(store.access, (), clock.now())
        endpoint = TokenEndpoint(store.access, store.audit, clock, ids)
        world = World(store, clock, ids, endpoint, tenant, Credential("", b"", ""))
        world.credential = await world.client(Role.SUPER_ADMIN)
        yield world
    finally:
        await store.close()


def content(answer: TokenAnswer) -> Any:
    return json.loads(answer.body)


def headers(answer: TokenAnswer) -> dict[str, str]:
    return dict(answer.headers)


def with_client(world: World, credential: Credential) -> World:
    """The same world, seen by another client."""
    return replace(world, credential=credential)
