"""`interlock clients` and `interlock tenants`."""

import json
from pathlib import Path

import pytest

from interlock.cli.failures import Exit
from interlock.cli.profile import read_profile
from tests.cli.conftest import CommandLine, Server, lines, ok, refusal

CLIENTS, TENANTS = "/interlock/v1/clients", "/interlock/v1/tenants"
IDENT = "ci@127.0.0.1:8080/spc"
CLIENT = {"id": IDENT, "displayName": "CI", "roles": ["read_only"]}
MADE = {"client": CLIENT, "clientSecret": "secret-token:x"}


def test_a_client_is_made_as_asked_and_its_secret_printed(server: Server, interlock: CommandLine) -> None:
    server.on("POST", CLIENTS, ok(MADE))
    made = interlock("clients", "create", "--role", "read_only", "--display-name", "CI", "--expires-in", "90")
    assert lines(made) == [{"id": IDENT, **MADE}]
    [call] = server.asked("POST", CLIENTS)
    assert call.body == {"displayName": "CI", "roles": ["read_only"], "expiresIn": "7776000s"}
    shown = interlock("clients", "create", "--role", "read_only", person=True)
    assert f"export CONDUCTORONE_CLIENT_ID={IDENT}\nexport CONDUCTORONE_CLIENT_SECRET=secret-token:x\n" in shown.stdout


def test_a_secret_that_is_saved_is_not_printed(server: Server, interlock: CommandLine, tmp_path: Path) -> None:
    server.on("POST", CLIENTS, ok(MADE))
    for person in (True, False):
        file = tmp_path / f"{person}.json"
        made = interlock("clients", "create", "--role", "read_only", "--save", str(file), person=person)
        assert made.exit_code == Exit.OK
        assert "secret-token" not in made.output
        assert read_profile(file).client_secret == "secret-token:x"
        assert read_profile(file).url == server.url
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "command", [("clients", "create", "--role", "basic"), ("tenants", "create", "a", "--host", "a.b")]
)
def test_nothing_is_made_whose_secret_would_not_be_shown(
    command: tuple[str, ...], server: Server, interlock: CommandLine, tmp_path: Path
) -> None:
    server.on("POST", CLIENTS, ok(MADE))
    server.on("POST", TENANTS, ok({"tenant": {"name": "a"}, **MADE}))
    refused = interlock(*command, "-o", "ids")
    assert refused.exit_code == Exit.USAGE
    assert "--save FILE" in refused.output
    assert not server.calls
    assert interlock(*command, "-o", "ids", "--save", str(tmp_path / "a.json")).stdout == f"{IDENT}\n"
    if command[0] == "clients":
        assert interlock(*command, "-o", "ids", "--public-key", "x").stdout == f"{IDENT}\n"


@pytest.mark.parametrize(
    "command", [("clients", "create", "--role", "basic"), ("tenants", "create", "a", "--host", "a.b")]
)
@pytest.mark.parametrize("kind", ["file", "link", "link to nothing", "directory"])
def test_secret_is_never_saved_over_something_else(
    command: tuple[str, ...], kind: str, server: Server, interlock: CommandLine, tmp_path: Path
) -> None:
    """It may be the only copy of another secret."""
    there, other = tmp_path / "there", tmp_path / "other"
    if kind == "directory":
        there.mkdir()
    elif kind == "file":
        there.write_text("kept")
    else:
        there.symlink_to(other)
    if kind == "link":
        other.write_text("kept")
    refused = interlock(*command, "--save", str(there))
    assert refused.exit_code == Exit.USAGE
    assert not server.calls
    assert not there.is_file() or there.read_text() == "kept"


def test_a_client_is_made_with_a_role_or_not_at_all(server: Server, interlock: CommandLine) -> None:
    for arguments in ([], ["--role", "king"], ["--role", "read_only", "--public-key", "x", "--save", "f"]):
        assert interlock("clients", "create", *arguments).exit_code == Exit.USAGE
    assert not server.calls


def test_clients_are_listed_and_revoked_by_their_ids(server: Server, interlock: CommandLine) -> None:
    server.on("GET", CLIENTS, ok({"list": [CLIENT]}))
    assert interlock("clients", "list", "-o", "ids").stdout == f"{IDENT}\n"
    path = f"{CLIENTS}/ci%40127.0.0.1%3A8080%2Fspc/actions/revoke"
    server.on("POST", path, ok({"client": {**CLIENT, "revokedAt": "2026-01-02T03:04:05Z"}}))
    no = interlock("clients", "revoke", IDENT, person=True, stdin="n\n")
    assert no.exit_code == Exit.ERROR
    assert not server.asked("POST", path)
    assert json.loads(interlock("clients", "revoke", IDENT).stdout)["revokedAt"] == "2026-01-02T03:04:05Z"


def test_tenants_are_made_listed_and_revoked(server: Server, interlock: CommandLine) -> None:
    server.on("POST", TENANTS, ok({"tenant": {"name": "acme"}, **MADE}))
    made = interlock("tenants", "create", "acme", "--host", "acme.example", "--host", "b.example")
    assert lines(made)[0]["tenant"] == {"name": "acme"}
    assert server.asked("POST", TENANTS)[0].body == {"name": "acme", "hosts": ["acme.example", "b.example"]}
    server.on("GET", TENANTS, ok({"list": [{"name": "acme", "hosts": ["acme.example"]}]}))
    assert interlock("tenants", "list", person=True).stdout.split()[-2:] == ["acme", "acme.example"]
    server.on("POST", f"{TENANTS}/acme/actions/revoke", ok({"tenant": {"name": "acme"}}))
    assert interlock("tenants", "revoke", "acme", "--yes", person=True).exit_code == Exit.OK
    server.on("POST", f"{TENANTS}/acme/actions/revoke", refusal(404, "not found"))
    assert interlock("tenants", "revoke", "acme").exit_code == Exit.NOT_FOUND
