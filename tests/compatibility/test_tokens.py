"""The recorded token requests, sent again in their own form with a credential of ours, and the calls that followed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.auth.credentials import SECRET_PREFIX
from tests.compatibility.live_server import LiveServer, Wire
from tests.compatibility.transcripts import load
from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

RECORDED: Final[list[dict[str, Any]]] = load("tokens")["exchanges"]
SIGNED: Final = [exchange for exchange in RECORDED if "assertion" in exchange]
CALLS: Final = [exchange for exchange in RECORDED if exchange["method"] == "GET"]
[EXCHANGED] = [exchange for exchange in RECORDED if "token-exchange" in exchange.get("body", "")]
HOUR: Final = 3600


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    directory: Path = tmp_path_factory.mktemp("tokens")
    async with ServerProcess(directory) as server:
        yield server


def unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(server: ServerProcess, assertion: dict[str, Any], now: int) -> str:
    """The recorded assertion with the same members, for our client and of this minute."""
    secret = server.client_secret.removeprefix(SECRET_PREFIX)
    jwk = json.loads(base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)))
    key = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(jwk["d"] + "=="))
    ours = {"iss": server.client_id, "sub": server.client_id, "iat": now, "nbf": now - 120, "exp": now + 120}
    claims = {name: ours.get(name, value) for name, value in assertion["claims"].items()}
    parts = ".".join(unpadded(json.dumps(part).encode()) for part in (assertion["header"], claims))
    return f"{parts}.{unpadded(key.sign(parts.encode()))}"


async def asked(server: ServerProcess, exchange: dict[str, Any]) -> Wire:
    assertion = signed(server, exchange["assertion"], int(time.time()))
    form = urlencode({**exchange["form"], "client_id": server.client_id, "client_assertion": assertion})
    return await LiveServer(server, "").send("POST", exchange["path"], exchange["headers"], form)


@pytest.mark.parametrize("exchange", SIGNED, ids=lambda exchange: exchange["client"])
async def test_a_signed_assertion_gets_a_token_that_every_client_can_use(
    server: ServerProcess, exchange: dict[str, Any]
) -> None:
    answer = await asked(server, exchange)
    assert answer.status == 200, answer.body
    assert answer.tree["token_type"] == "Bearer"
    # Go reads whole numbers only, and TypeScript keeps a token for an hour whatever it says.
    assert type(answer.tree["expires_in"]) is int
    assert answer.tree["expires_in"] >= HOUR


@pytest.mark.parametrize("exchange", CALLS, ids=[f"{at}: {call['client']}" for at, call in enumerate(CALLS)])
async def test_the_call_that_followed_is_let_in(server: ServerProcess, exchange: dict[str, Any]) -> None:
    answer = await (await LiveServer.of(server)).send(exchange["method"], exchange["path"], exchange["headers"])
    assert answer.status == 200


async def test_the_double_slash_of_a_server_url_with_one_at_its_end_is_told_from_a_token_request(
    server: ServerProcess,
) -> None:
    answer = await LiveServer(server, "").send("POST", "//auth/v1/token", SIGNED[0]["headers"], "")
    assert answer.status in {400, 404}
    assert answer.tree


async def test_a_token_exchange_is_refused_in_the_form_of_the_standard(server: ServerProcess) -> None:
    """RFC 6749, section 5.2. Federated identities are not offered yet."""
    answer = await LiveServer(server, "").send("POST", EXCHANGED["path"], EXCHANGED["headers"], EXCHANGED["body"])
    assert answer.status in {400, 401}
    assert answer.tree["error"] in {"unsupported_grant_type", "invalid_client"}
