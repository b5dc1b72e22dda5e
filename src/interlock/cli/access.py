"""`interlock clients` and `interlock tenants`: manage access."""

import errno
import os
import shlex
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from interlock.cli.failures import EXIT_CODES, Exit, Failure, OutputLost, reason_of
from interlock.cli.output import Column, Form, instant, print_object, print_rows
from interlock.cli.profile import Profile, url_of_client, write_private_json
from interlock.cli.session import Session, output_option
from interlock.cli.streams import output_lost
from interlock.cli.terminal import one_line, say

_CLIENTS = "/interlock/v1/clients"
_TENANTS = "/interlock/v1/tenants"
ROLES = ("super_admin", "app_admin", "read_only", "basic")

_CLIENT_COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: row.get("id")),
    ("NAME", lambda row: row.get("displayName")),
    ("ROLES", lambda row: " ".join(row.get("roles") or ())),
    ("APPS", lambda row: " ".join(row.get("apps") or ())),
    ("CREATED", lambda row: instant(row.get("createdAt"))),
    ("EXPIRES", lambda row: instant(row.get("expiresAt"))),
    ("REVOKED", lambda row: instant(row.get("revokedAt"))),
)
_TENANT_COLUMNS: tuple[Column, ...] = (
    ("NAME", lambda row: row.get("name")),
    ("HOSTS", lambda row: " ".join(row.get("hosts") or ())),
    ("CREATED", lambda row: instant(row.get("createdAt"))),
    ("REVOKED", lambda row: instant(row.get("revokedAt"))),
)

_save_option = click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a profile with the secret to a new FILE (mode 0600) instead of printing it.",
)


@click.group(epilog=EXIT_CODES)
def clients() -> None:
    """Create, list and revoke clients: the credentials of programs and people."""


@clients.command("create")
@click.option("--name", help="Beginning of the id. Default: two words and a number.")
@click.option("--display-name", default="", help="Name of the program or person.")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="Role; may be repeated.")
@click.option("--app", "apps", multiple=True, metavar="ID", help="App that an app_admin manages; may be repeated.")
@click.option("--public-key", help="Public key of your own key pair: 32 bytes of Ed25519 in base64url (x of a JWK).")
@click.option("--expires-in", metavar="DAYS", type=click.IntRange(min=1), help="Days until the client expires.")
@_save_option
@output_option
@click.pass_obj
def create_client(
    session: Session,
    name: str | None,
    display_name: str,
    roles: tuple[str, ...],
    apps: tuple[str, ...],
    public_key: str | None,
    expires_in: int | None,
    save: Path | None,
    output: Form,
) -> None:
    """Create a client and show its secret. The server stores only the public key.

    \b
    Examples:
      interlock clients create --role super_admin --display-name "CI" --save ci.json
      interlock clients create --role read_only --expires-in 90
      interlock clients create --role app_admin --app app_salesforce
    """
    body: dict[str, Any] = {"displayName": display_name, "roles": roles}
    body |= {"name": name} if name else {}
    body |= {"apps": apps} if apps else {}
    body |= {"publicKey": public_key} if public_key else {}
    body |= {"expiresIn": f"{expires_in * 86_400}s"} if expires_in else {}
    if save is not None and public_key:
        raise Failure("--save cannot be used with --public-key: the server does not have the secret", Exit.USAGE)
    _check_can_keep(save, output, needed=not public_key)
    made = session.api().call("POST", _CLIENTS, body, repeatable=False).body
    _show_secret(session, made, save, output)


@clients.command("list")
@output_option
@click.pass_obj
def list_clients(session: Session, output: Form) -> None:
    """List clients, including revoked ones.

    \b
    Examples:
      interlock clients list
    """
    print_rows(output, session.api().call("GET", _CLIENTS).body.get("list") or (), _CLIENT_COLUMNS, "id")


@clients.command("revoke")
@click.argument("client")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@output_option
@click.pass_obj
def revoke_client(session: Session, client: str, yes: bool, output: Form) -> None:
    """Revoke a client; its tokens stop working immediately.

    \b
    Examples:
      interlock clients revoke light-otter-12345@127.0.0.1:8080/spc
    """
    api = session.api()
    session.confirmed(f"Revoke {client}?", yes=yes)
    reply = api.call("POST", f"{_CLIENTS}/{quote(client, safe='')}/actions/revoke", {})
    print_rows(output, [reply.body.get("client") or {}], _CLIENT_COLUMNS, "id")


@click.group(epilog=EXIT_CODES)
def tenants() -> None:
    """Create, list and revoke tenants. Each has its own host names and is isolated from the others."""


@tenants.command("create")
@click.argument("name")
@click.option(
    "--host", "hosts", multiple=True, required=True, metavar="HOST", help="Host name of the tenant; may be repeated."
)
@_save_option
@output_option
@click.pass_obj
def create_tenant(session: Session, name: str, hosts: tuple[str, ...], save: Path | None, output: Form) -> None:
    """Create a tenant and its first client.

    \b
    Examples:
      interlock tenants create acme --host acme.example --save acme.json
    """
    _check_can_keep(save, output)
    made = session.api().call("POST", _TENANTS, {"name": name, "hosts": hosts}, repeatable=False).body
    _show_secret(session, made, save, output)


@tenants.command("list")
@output_option
@click.pass_obj
def list_tenants(session: Session, output: Form) -> None:
    """List tenants, including revoked ones.

    \b
    Examples:
      interlock tenants list
    """
    print_rows(output, session.api().call("GET", _TENANTS).body.get("list") or (), _TENANT_COLUMNS, "name")


@tenants.command("revoke")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@output_option
@click.pass_obj
def revoke_tenant(session: Session, name: str, yes: bool, output: Form) -> None:
    """Revoke a tenant: refuse its clients and terminate its runs. Its record is kept.

    \b
    Examples:
      interlock tenants revoke acme
    """
    api = session.api()
    session.confirmed(f"Revoke the tenant {name}, with all its clients?", yes=yes)
    reply = api.call("POST", f"{_TENANTS}/{quote(name, safe='')}/actions/revoke", {})
    print_rows(output, [reply.body.get("tenant") or {}], _TENANT_COLUMNS, "name")


def _check_can_keep(save: Path | None, output: Form, *, needed: bool = True) -> None:
    """Check before a client is created that its secret can be saved or shown.

    Args:
        save: File for the secret; None to print it.
        output: Output format; "ids" shows no secret.
        needed: Whether the new client has a secret.

    Raises:
        Failure: the file cannot be written, or the secret would be neither saved nor shown.
    """
    if save is None:
        if needed and output == "ids":
            hint = "Add --save FILE, or use -o json, which shows the secret. Nothing was created."
            raise Failure("-o ids shows no secret, and it cannot be shown later", Exit.USAGE, hint=hint)
        return
    try:
        if os.path.lexists(save):
            # It may be the only copy of another client's secret.
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with tempfile.TemporaryFile(dir=save.parent):
            pass
    except (OSError, ValueError) as error:
        hint = "Name a file that does not exist, in a directory that you may write to. Nothing was created."
        raise Failure(f"--save: cannot write {str(save)!r}: {reason_of(error)}", Exit.USAGE, hint=hint) from error


def _show_secret(session: Session, made: dict[str, Any], save: Path | None, output: Form) -> None:
    ident, secret = str((made.get("client") or {}).get("id", "")), str(made.get("clientSecret", ""))
    url = url_of_client(session.api().url, ident)
    if save is not None:
        try:
            write_private_json(save, asdict(Profile(url, ident, secret)))
        except OSError as error:
            raise _secret_lost(ident, str(save), error) from error
        made = {**made, "clientSecret": ""}
    _print_made(session, made, save, output, url)
    if save is None and secret and (lost := output_lost()) is not None:
        raise _secret_lost(ident, "stdout", lost)


def _secret_lost(ident: str, where: str, error: OSError) -> OutputLost:
    return OutputLost(
        f"the client {ident} was created, but its secret could not be written to {where}: {reason_of(error)}",
        hint=f"The secret is lost. Revoke the client and create another: interlock clients revoke {ident}",
    )


def _print_made(session: Session, made: dict[str, Any], save: Path | None, output: Form, url: str) -> None:
    ident, secret = str((made.get("client") or {}).get("id", "")), str(made.get("clientSecret", ""))
    if output != "table":
        print_object(output, {"id": ident, **made}, "id")
        return
    print_rows("table", [made.get("client") or {}], _CLIENT_COLUMNS[:3], "id")
    if save is not None:
        session.hint(f"Use it: interlock --profile {save} …")
    elif secret:
        say(
            f"\nexport CONDUCTORONE_SERVER_URL={shlex.quote(one_line(url))}"
            f"\nexport CONDUCTORONE_CLIENT_ID={shlex.quote(one_line(ident))}"
            f"\nexport CONDUCTORONE_CLIENT_SECRET={shlex.quote(one_line(secret))}"
        )
        session.hint("The secret cannot be shown again.")
