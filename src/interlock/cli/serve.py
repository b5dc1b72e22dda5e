"""`interlock serve`: the server, from the command line to the port and back."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import click
import uvicorn
import uvloop

from interlock.assembly import Machine, System, assembled
from interlock.cli.failures import Exit, Failure, reason_of, system_failure
from interlock.cli.profile import DEFAULT_DATA_DIR, Profile, read_profile, write_private_json, write_profile
from interlock.cli.terminal import tell
from interlock.errors import Fatal, InterlockError, InvalidArgument, Unavailable
from interlock.operations.messages import build_messages
from interlock.ports import Http
from interlock.settings import DEFAULT_GRACE, DEFAULT_LISTEN, DEFAULT_SLOTS, Settings
from interlock.store.sqlite.connection import DriverError
from interlock.telemetry.logs import LogFormat, configure

SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which one thread may keep the others from running; the default is ten times that."""
FATAL_PATIENCE: Final = 2.0
"""Seconds within which a process whose store failed has ended, come what may."""
COLLECTED_EVERY: Final = (20_000, 50, 100)
"""Objects more than before, and rounds of the younger generations, after which cycles are looked for; Python's own
figures cost a seventh of all time here."""
ANSWER_PATIENCE: Final = 2.0
"""Seconds for which the port stays open after the drain, for the requests that are being answered."""
ANSWER_LOOK: Final = 0.02
"""Seconds between two looks at whether a request is being answered."""
BACKLOG: Final = 2_048
ACCEPTS: Final = 16
"""Connections that are taken in a turn of the loop: libuv takes one for each socket that it listens on, and under load
a turn is long. Whoever comes to stop something must not stand in line for seconds to be let in."""
MOST_FILES: Final = 65_536
"""Open files, if the system permits so many: a connection is one, and many a system gives 1,024 unless it is asked."""

RESERVED_FILES: Final = 512
"""Open files that are kept for the database, evaluators and calls to remotes, as far as the system permits."""
LEAST_CONNECTIONS: Final = 64
"""Connections that are taken even where the limit on open files is lower than what is reserved."""

log = logging.getLogger("interlock.serve")


def _date(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The date as it was given; a text that is none would be taken for the wrong date, and nothing would say so."""
    try:
        return date.fromisoformat(value).isoformat() if value else ""
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a date; use YYYY-MM-DD, such as 2026-01-31") from error


@click.command(context_settings={"auto_envvar_prefix": "INTERLOCK"})
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Where everything is kept. One server at a time.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_LISTEN,
    show_default=True,
    help="Address to listen on; port 0 takes a free one.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written once the port accepts: JSON with url, client_id, client_secret (when it is new) and data_dir.",
)
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Another host name to answer to. Repeatable.")
@click.option(
    "--allow-egress",
    multiple=True,
    metavar="HOST|CIDR[:PORT]",
    help="A private or plain-http target that webhooks may reach. Repeatable.",
)
@click.option("--public-url", default="", metavar="URL", help="Where far ends reach this server, for callback URLs.")
@click.option(
    "--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate chain (PEM)."
)
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Private key (PEM).")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="More certificate authorities that webhooks trust (PEM).",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1, max=10_000),
    default=DEFAULT_SLOTS,
    show_default=True,
    help="Attempts in flight at once.",
)
@click.option(
    "--slots-per-host",
    type=click.IntRange(min=0, max=10_000),
    default=0,
    show_default=True,
    help="Attempts in flight at once to one host; 0 leaves it to fair sharing.",
)
@click.option(
    "--slots-per-tenant",
    type=click.IntRange(min=0, max=10_000),
    default=0,
    show_default=True,
    help="Attempts in flight at once of one tenant; 0 leaves it to fair sharing.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0, max=3_600),
    metavar="SECONDS",
    default=DEFAULT_GRACE,
    show_default=True,
    help="How long attempts in flight are given at an orderly stop.",
)
@click.option(
    "--confirm-clock",
    default="",
    metavar="YYYY-MM-DD",
    callback=_date,
    help="Today's date in UTC: let old records be removed again after the clock was found far from the newest one.",
)
@click.option("--new-client", is_flag=True, help="Make another super admin, for when no secret of one is left.")
@click.option(
    "--log-format",
    type=click.Choice([form.value for form in LogFormat]),
    default=LogFormat.AUTO.value,
    show_default=True,
)
def serve(ready_file: Path | None, log_format: str, **options: Any) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    \b
    Examples:
      interlock serve
      interlock serve --data-dir ./data --listen 127.0.0.1:0 --ready-file ready.json
      interlock serve --tls-cert cert.pem --tls-key key.pem     (the Go clients and Terraform speak only https)
      interlock serve --allow-egress 127.0.0.1:9000             (let webhooks reach a receiver on this machine)

    Each option can be given as a variable too: INTERLOCK_LISTEN, INTERLOCK_ALLOW_EGRESS (several, with blanks between).
    """
    configure(LogFormat(log_format))
    if (options["tls_cert"] is None) != (options["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    given = {name: value for name, value in options.items() if value not in (None, ())}
    sys.setswitchinterval(SWITCH_INTERVAL)
    _permit_files()
    try:
        code = uvloop.run(run_server(Settings(**given), ready_file))
    except (InterlockError, OSError, DriverError) as error:
        sys.exit(_told(error))
    except BaseExceptionGroup as group:
        # What goes wrong while the parts are at work comes out of their task group.
        known, unknown = group.split((InterlockError, OSError, DriverError))
        if known is None or unknown is not None:
            raise
        sys.exit(_told(known))
    sys.exit(code)


def _told(error: BaseException) -> Exit:
    """Say why the server ends; returns the exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, InterlockError):
        tell(f"interlock: {error.message}")
    elif isinstance(error, OSError):
        tell(f"interlock: {error.filename}: {reason_of(error)}" if error.filename else f"interlock: {reason_of(error)}")
    elif isinstance(error, DriverError):
        tell(f"interlock: the database cannot be read: {error}; restore a backup: interlock backup restore --help")
    return Exit.USAGE if isinstance(error, InvalidArgument) else Exit.ERROR


async def run_server(settings: Settings, ready_file: Path | None, *, http: Http | None = None) -> int:
    """Serve until told to stop; returns the exit code. `http` is another way out, for measuring without a network."""
    host, port = settings.address
    public_url = settings.reached_at
    _check_tls(settings)
    try:
        listener = _bound(host, port)
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot listen on {settings.listen}: {reason_of(error)}") from error
    scheme = "https" if settings.tls_cert is not None else "http"
    address, port = listener.getsockname()[:2]
    authority = _authority(address, port)
    url = f"{scheme}://{authority}"
    server: Server | None = None
    untold: OSError | None = None

    def ended(error: Fatal) -> None:
        log.critical("the process ends", extra={"reason": error.message})
        if server is not None:
            server.should_exit = True
        asyncio.get_running_loop().call_later(FATAL_PATIENCE, os._exit, Exit.ERROR)

    async with assembled(settings, authority, machine=Machine.real(http), on_fatal=ended) as system:
        system.dispatcher.opens_later()
        if public_url:
            system.reached_at(public_url)
        elif not ip_address(address).is_unspecified:
            system.reached_at(url)
        elif settings.hosts:
            system.reached_at(f"{scheme}://{_authority(settings.hosts[0], port)}")
        else:
            system.reached_at(url, is_known=False)
            log.warning("no callback URL is known", extra={"reason": _UNREACHED.format(settings.listen)})
        config = ServerConfig(
            system.api,
            loop="none",
            http=system.connection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
            timeout_graceful_shutdown=round(ANSWER_PATIENCE),
        )

        config.max_connections = _connections_within(system.max_connections)

        async def ready() -> None:
            nonlocal untold
            system.dispatcher.opened()
            # What the start has made is here to stay, and a run leaves next to no cycles behind it.
            gc.freeze()
            gc.set_threshold(*COLLECTED_EVERY)
            try:
                _tell(settings.data_dir, url, system, ready_file)
            except OSError as error:
                reason = f"cannot write the profile or the ready file: {system_failure(error)}"
                log.critical("the process ends", extra={"reason": reason})
                untold = error
                serving.should_exit = True

        server = serving = Server(config, ready)
        loop = asyncio.get_running_loop()
        ending = Ending(server, system)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.signalled)
        building = asyncio.create_task(build_messages(), name="messages")
        try:
            await server.serve(sockets=[listener, *(listener.dup() for _ in range(ACCEPTS - 1))])
        finally:
            building.cancel()
            await asyncio.wait((building,))
    return Exit.ERROR if system.failed.done() or untold is not None else Exit.OK


class Server(uvicorn.Server):
    """uvicorn, told to leave signals to us, and telling us when the port accepts."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._ready = ready

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was asked, and only then close the port: until then a run can be stopped."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWER_PATIENCE
        while self._is_answering() and not self.force_exit and loop.time() < until:  # noqa: ASYNC110  # no event says so
            await asyncio.sleep(ANSWER_LOOK)
        await super().shutdown(sockets)

    def _is_answering(self) -> bool:
        return any(getattr(connection, "is_answering", False) for connection in self.server_state.connections)


class Ending:
    """The end of the server on a signal: in order on the first, at once on the second.

    In order means that starts are refused and attempts in flight are given their time, while terminations, reads and
    health are served as ever, on new connections too. The port closes last.
    """

    def __init__(self, server: Server, system: System) -> None:
        self._server = server
        self._system = system
        self._draining: asyncio.Task[None] | None = None

    def signalled(self) -> None:
        """Take a SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        if self._draining is None:
            log.info("draining", extra={"grace": self._system.grace})
            self._system.wind_up()
            self._draining = loop.create_task(self._drain())
            return
        log.warning("the process ends", extra={"reason": "a second signal came while it was draining"})
        self._system.hurry()
        self._draining.cancel()
        self._server.should_exit = self._server.force_exit = True
        loop.call_later(FATAL_PATIENCE, os._exit, Exit.ERROR)

    async def _drain(self) -> None:
        try:
            await self._system.drain()
        finally:
            self._server.should_exit = True


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, and how many connections there may be at a time."""

    max_connections = LEAST_CONNECTIONS


def _connections_within(most: int) -> int:
    """Connections at a time that the limit on open files leaves room for, beside what the server itself opens."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(LEAST_CONNECTIONS, min(most, soft - RESERVED_FILES))


def _permit_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _tell(data_dir: Path, url: str, system: System, ready_file: Path | None) -> None:
    """Write the profile and the ready file, now that whoever reads them can use what they say."""
    told = {"url": url, "data_dir": str(data_dir.absolute())}
    made = system.credential
    if made is not None:
        write_profile(data_dir, Profile(url, made.client_id, made.secret))
        told |= {"client_id": made.client_id, "client_secret": made.secret}
    else:
        kept = data_dir / "profile.json"
        if kept.exists():
            told |= _bring_up_to_date(kept, url)
    if ready_file is not None:
        write_private_json(ready_file, told)
    log.info("serving", extra={"url": url})


def _bring_up_to_date(kept: Path, url: str) -> dict[str, str]:
    """Write a new URL into the profile that there is, and return whose it is. A damaged one stops no server."""
    try:
        known = read_profile(kept)
    except Failure as failure:
        log.warning("the profile cannot be used", extra={"reason": failure.message, "remedy": "serve --new-client"})
        return {}
    if known.url != url:
        write_profile(kept.parent, Profile(url, known.client_id, known.client_secret))
    return {"client_id": known.client_id}


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _check_tls(settings: Settings) -> None:
    """Read certificate and key before anything else is done.

    Raises:
        InvalidArgument: they cannot be read, or do not belong together.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_password)
    except ssl.SSLError as error:
        wrong = (
            "the key does not belong to the certificate" if "MISMATCH" in str(error) else "one of them is no PEM file"
        )
        raise InvalidArgument.at(
            "--tls-cert, --tls-key", f"{settings.tls_cert} and {settings.tls_key} cannot be used: {wrong}"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidArgument.at(
            "--tls-cert, --tls-key", f"{settings.tls_cert} and {settings.tls_key} cannot be used: {reason_of(error)}"
        ) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not (openssl pkey -in KEY -out PLAIN)")


def _authority(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


_UNREACHED: Final = (
    "--listen {} says on which addresses the server listens, not where remotes reach it; set --public-url, such as "
    "https://interlock.example, or --host NAME. Until then webhooks are sent without a callback URL"
)
