"""How a token has to be asked for, and what the answers look like."""

from __future__ import annotations

import re

import pytest

from interlock.auth.form import MAX_BODY
from interlock.auth.token_endpoint import TokenAnswer
from interlock.ports import Role
from tests.auth.clients import HOST, World, content, headers, with_client
from tests.store.stores import on_connection, sqlite

pytestmark = pytest.mark.anyio


def error(answer: TokenAnswer) -> tuple[int, str]:
    return answer.status, content(answer)["error"]


@pytest.mark.parametrize("client", ["go", "typescript", "python"])
async def test_every_sdk_gets_a_token_by_its_assertion(here: World, client: str) -> None:
    answer = await here.present(getattr(here, client)())
    assert answer.status == 200
    body = content(answer)
    assert body.keys() == {"access_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
    assert type(body["expires_in"]) is int
    assert headers(answer) == {"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"}


async def test_the_secret_works_as_well_as_an_assertion(here: World) -> None:
    assert (await here.post(here.secret_form())).status == 200


async def test_a_token_is_recognisable_and_only_its_digest_is_stored(here: World) -> None:
    token = content(await here.post(here.secret_form()))["access_token"]
    assert re.fullmatch(r"interlock_at_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", token)
    rows = on_connection(lambda connection: connection.execute("SELECT digest FROM tokens").fetchall())
    [[digest]] = await sqlite(here.store).writer.submit(rows)
    assert isinstance(digest, bytes)
    assert token.encode() not in digest


async def test_success_is_audited_with_client_and_address(here: World) -> None:
    await here.post(here.secret_form())
    entry = (await here.audited()).entry
    assert (entry.action, entry.outcome, entry.target) == ("token.issue", "ok", f"client:{here.credential.client_id}")
    assert (entry.actor.client, entry.actor.address) == (here.credential.client_id, "203.0.113.7")
    assert here.credential.secret.encode() not in (entry.details or b"")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content-type": "application/json"}, 400),
        ({"content-type": ""}, 400),
        ({"content-type": "text/plain"}, 400),
        ({"content-type": "multipart/form-data; boundary=x"}, 400),
        ({"content-type": "application/x-www-form-urlencoded; charset=utf-16"}, 400),
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": 'Application/X-WWW-Form-Urlencoded; charset="UTF-8"'}, 200),
    ],
)
async def test_the_body_is_a_plain_form(here: World, sent: dict[str, str], status: int) -> None:
    assert (await here.post(here.secret_form(), headers=sent)).status == status


async def test_sizes_are_limited(here: World) -> None:
    assert error(await here.post(b"a=" + b"x" * (MAX_BODY - 1))) == (413, "invalid_request")
    assert error(await here.present("x" * 8_193)) == (400, "invalid_request")
    many = b"&".join(b"p%d=1" % n for n in range(21))
    assert error(await here.post(many)) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["client_id", "client_secret", "grant_type", "scope", "anything", "client%5Fid"])
@pytest.mark.parametrize("value", ["", "x"])
async def test_no_parameter_is_given_twice(here: World, name: str, value: str) -> None:
    plain = name.replace("%5F", "_")
    assert error(await here.post(f"{plain}={value}&{name}={value}".encode())) == (400, "invalid_request")


@pytest.mark.parametrize("body", [b"client_id=%zz", b"client_id=%f", b"client_id=%ff", b"client_id=%"])
async def test_escapes_and_text_have_to_be_right(here: World, body: bytes) -> None:
    assert error(await here.post(body)) == (400, "invalid_request")


async def test_an_empty_parameter_is_absent_and_an_unknown_one_is_ignored(here: World) -> None:
    form = here.secret_form(client_assertion="", client_assertion_type="", scope="", foo="1")
    assert (await here.post(form)).status == 200


async def test_credentials_in_the_header_alone_are_refused(here: World) -> None:
    answer = await here.post({"grant_type": "client_credentials"}, headers={"authorization": "Basic bmFtZTpzZWNyZXQ="})
    assert error(answer) == (401, "invalid_client")
    assert headers(answer)["WWW-Authenticate"] == f'Basic realm="{HOST}"'


async def test_only_one_way_of_authentication_is_used(here: World) -> None:
    basic = {"authorization": "basic bmFtZTpzZWNyZXQ="}
    secret = here.credential.secret
    assert error(await here.post(here.secret_form(), headers=basic)) == (400, "invalid_request")
    assert error(await here.post(here.form(here.go()), headers=basic)) == (400, "invalid_request")
    assert error(await here.present(here.go(), client_secret=secret)) == (400, "invalid_request")


@pytest.mark.parametrize("query", ["client_secret=x", "a=1&client%5Fassertion=x", "client_id=x", "grant_type=x"])
async def test_nothing_of_a_credential_stands_in_the_url(here: World, query: str) -> None:
    assert error(await here.post(here.secret_form(), query=query)) == (400, "invalid_request")
    assert (await here.post(here.secret_form(), query="trace=1")).status == 200


@pytest.mark.parametrize(
    ("grant", "code"),
    [
        ("", "invalid_request"),
        ("password", "unsupported_grant_type"),
        ("Client_Credentials", "unsupported_grant_type"),
        ("client_credentials ", "unsupported_grant_type"),
    ],
)
async def test_the_grant_is_client_credentials(here: World, grant: str, code: str) -> None:
    assert error(await here.post(here.secret_form(grant_type=grant))) == (400, code)


async def test_an_assertion_and_its_type_go_together(here: World) -> None:
    assert error(await here.present(here.go(), client_assertion_type=None)) == (400, "invalid_request")
    assert error(await here.post(here.form("", client_assertion=None))) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("scope", "status"), [("read_only", 200), ("super_admin", 400), ("everything", 400), ("read_only super_admin", 400)]
)
async def test_a_token_is_never_wider_than_its_client(here: World, scope: str, status: int) -> None:
    reader = with_client(here, await here.client(Role.READ_ONLY))
    answer = await reader.post(reader.secret_form(scope=scope))
    assert answer.status == status
    if status == 400:
        assert content(answer)["error"] == "invalid_scope"


async def test_no_body_whatever_makes_it_fail_in_another_way(here: World) -> None:
    for body in (b"", b"&&&", b"=", b"===&=", b"\x00", b"%00=%00", b"a" * MAX_BODY, bytes(range(256))):
        assert (await here.post(body)).status == 400
