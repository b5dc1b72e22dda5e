"""The options that describe a server, for `interlock serve` and `interlock doctor`: the same names and variables."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from interlock.assembly.step_kinds import kind_settings
from interlock.cli.failures import reason_of
from interlock.cli.profile import DEFAULT_DATA_DIR
from interlock.errors import InvalidArgument
from interlock.settings import DEFAULT_GRACE, DEFAULT_LISTEN, DEFAULT_SLOTS, KindSetting, Settings

ENVIRONMENT_PREFIX: Final = "INTERLOCK"
"""The variable of an option is this prefix, `_` and the name of the option: INTERLOCK_LISTEN."""

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_DATA_DIR,
        show_default=True,
        help="Directory for all data; one server at a time.",
    ),
    click.option(
        "--listen",
        metavar="HOST:PORT",
        default=DEFAULT_LISTEN,
        show_default=True,
        help="Address to listen on; port 0 selects a free port.",
    ),
    click.option(
        "--host",
        "hosts",
        multiple=True,
        metavar="NAME",
        help="Another host name of the default tenant; may be repeated.",
    ),
    click.option(
        "--allow-egress",
        multiple=True,
        metavar="HOST|CIDR[:PORT]",
        help="Private or plain-http target that webhooks may reach; may be repeated.",
    ),
    click.option(
        "--public-url", default="", metavar="URL", help="URL at which receivers reach this server, for callback URLs."
    ),
    click.option(
        "--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate chain (PEM)."
    ),
    click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Private key (PEM)."),
    click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Additional certificate authorities for webhooks (PEM).",
    ),
    click.option(
        "--slots",
        type=click.IntRange(min=1, max=10_000),
        default=DEFAULT_SLOTS,
        show_default=True,
        help="Maximum number of attempts in flight.",
    ),
    click.option(
        "--slots-per-host",
        type=click.IntRange(min=0, max=10_000),
        default=0,
        show_default=True,
        help="Maximum number of attempts in flight to one host; 0 for fair sharing only.",
    ),
    click.option(
        "--slots-per-tenant",
        type=click.IntRange(min=0, max=10_000),
        default=0,
        show_default=True,
        help="Maximum number of attempts in flight of one tenant; 0 for fair sharing only.",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(min=0, max=3_600),
        metavar="SECONDS",
        default=DEFAULT_GRACE,
        show_default=True,
        help="Seconds that attempts in flight may take when the server stops.",
    ),
)


def server_options(command: Command) -> Command:
    """Add the options that describe a server, and those of the step kinds; `settings_from` reads them."""
    command = kind_options(kind_settings())(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def kind_options(settings: Sequence[KindSetting]) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each setting of a step kind."""

    def decorated(command: Command) -> Command:
        for each in reversed(settings):
            command = click.option(each.option, each.name, default="", metavar=each.metavar, help=each.help)(command)
        return command

    return decorated


def settings_from(options: dict[str, Any], of_kinds: Sequence[KindSetting]) -> Settings:
    """Return the settings from the options of the command line; an omitted option has its default.

    Raises:
        UsageError: Options do not go together.
    """
    if (options.get("tls_cert") is None) != (options.get("tls_key") is None):
        raise click.UsageError("--tls-cert and --tls-key must be given together")
    kinds = {each.name: value for each in of_kinds if (value := options.pop(each.name))}
    given = {name: value for name, value in options.items() if value not in (None, ())}
    return Settings(**given, of_kinds=kinds)


def check_tls(settings: Settings) -> None:
    """Read certificate and key before the start.

    Raises:
        InvalidArgument: They cannot be read, or do not match.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_password)
    except ssl.SSLError as error:
        wrong = (
            "the key does not match the certificate" if "MISMATCH" in str(error) else "one of them is not a PEM file"
        )
        raise InvalidArgument.at(
            "--tls-cert, --tls-key", f"{settings.tls_cert} and {settings.tls_key} cannot be used: {wrong}"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidArgument.at(
            "--tls-cert, --tls-key", f"{settings.tls_cert} and {settings.tls_key} cannot be used: {reason_of(error)}"
        ) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; decrypt it first (openssl pkey -in KEY -out PLAIN)")


NO_CALLBACK_URL: Final = (
    "--listen {} says on which addresses the server listens, not where remotes reach it; set --public-url, such as "
    "https://interlock.example, or --host NAME. Until then webhooks are sent without a callback URL"
)
"""Reason of a server that has no callback URL; the value is that of `--listen`."""
