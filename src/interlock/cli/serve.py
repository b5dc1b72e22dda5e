"""`interlock serve`: start the server from the command line, and stop it on a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from interlock.assembly.assemble import assembled
from interlock.assembly.step_kinds import kind_settings
from interlock.assembly.system import Platform, System
from interlock.cli.failures import Exit, Failure, reason_of, system_failure
from interlock.cli.http_server import ANSWER_PATIENCE, Server, ServerConfig, connections_within, permit_files
from interlock.cli.listening import authority_of, bound
from interlock.cli.profile import Profile, read_profile, write_private_json, write_profile
from interlock.cli.server_options import (
    ENVIRONMENT_PREFIX,
    NO_CALLBACK_URL,
    check_tls,
    server_options,
    settings_from,
)
from interlock.cli.terminal import tell
from interlock.errors import Fatal, InterlockError, InvalidArgument, Unavailable
from interlock.operations.messages import build_messages
from interlock.ports import Http
from interlock.settings import Settings, is_unspecified
from interlock.store.sqlite.connection import DriverError
from interlock.telemetry.logs import LogFormat, configure

SWITCH_INTERVAL: Final = 0.0005
"""Seconds for which one thread may hold the interpreter; the default is ten times as long."""
FATAL_PATIENCE: Final = 2.0
"""Seconds after which a process whose store failed exits unconditionally."""
COLLECTED_EVERY: Final = (20_000, 50, 100)
"""Thresholds of the garbage collector: new objects, and collections of the younger generations. Python's defaults cost
a seventh of all CPU time here."""
BACKLOG: Final = 2_048
ACCEPTS: Final = 16
"""Connections that are accepted in a turn of the loop. libuv accepts one per listening socket, and under load a turn is
long; a client that terminates a run must not wait seconds for its connection."""

log = logging.getLogger("interlock.serve")


def _date(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the date of the option; reject a text that is not a date."""
    try:
        return date.fromisoformat(value).isoformat() if value else ""
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a date; use YYYY-MM-DD, such as 2026-01-31") from error


@click.command(context_settings={"auto_envvar_prefix": ENVIRONMENT_PREFIX})
@server_options
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write when the port accepts: JSON with url, client_id, client_secret (if new) and data_dir.",
)
@click.option(
    "--confirm-clock",
    default="",
    metavar="YYYY-MM-DD",
    callback=_date,
    help="Today's date in UTC: confirm the clock, so that old records are removed again.",
)
@click.option("--new-client", is_flag=True, help="Create another super admin, for example if no secret is left.")
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
      interlock serve --tls-cert cert.pem --tls-key key.pem     (the Go clients and Terraform need https)
      interlock serve --allow-egress 127.0.0.1:9000             (permit webhooks to this machine)

    Each option has an environment variable: INTERLOCK_LISTEN, INTERLOCK_ALLOW_EGRESS (several values, with spaces).
    """
    configure(LogFormat(log_format))
    settings = settings_from(options, kind_settings())
    sys.setswitchinterval(SWITCH_INTERVAL)
    permit_files()
    # Objects of the start stay alive: collect garbage only when the port is open.
    gc.disable()
    try:
        code = uvloop.run(run_server(settings, ready_file))
    except (InterlockError, OSError, DriverError) as error:
        sys.exit(_told(error))
    except BaseExceptionGroup as group:
        # Errors of running parts come out of their task group.
        known, unknown = group.split((InterlockError, OSError, DriverError))
        if known is None or unknown is not None:
            raise
        sys.exit(_told(known))
    finally:
        gc.enable()
    sys.exit(code)


def _told(error: BaseException) -> Exit:
    """Print why the server ends, and return the exit code."""
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
    """Serve until a signal, and return the exit code.

    Args:
        settings: Settings of the server.
        ready_file: File to write when the port accepts.
        http: Outgoing HTTP; None for the real client. A benchmark measures without a network.
    """
    host, port = settings.address
    public_url = settings.reached_at
    check_tls(settings)
    try:
        listener = bound(host, port)
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot listen on {settings.listen}: {reason_of(error)}") from error
    scheme = "https" if settings.tls_cert is not None else "http"
    address, port = listener.getsockname()[:2]
    authority = authority_of(address, port)
    url = f"{scheme}://{authority}"
    server: Server | None = None
    untold: OSError | None = None

    def ended(error: Fatal) -> None:
        log.critical("the process ends", extra={"reason": error.message})
        if server is not None:
            server.should_exit = True
        asyncio.get_running_loop().call_later(FATAL_PATIENCE, os._exit, Exit.ERROR)

    async with assembled(settings, authority, platform=Platform.real(http), on_fatal=ended) as system:
        system.dispatcher.opens_later()
        if public_url:
            system.reached_at(public_url)
        elif not is_unspecified(address):
            system.reached_at(url)
        elif settings.hosts:
            system.reached_at(f"{scheme}://{authority_of(settings.hosts[0], port)}")
        else:
            system.reached_at(url, is_known=False)
            log.warning("no callback URL is known", extra={"reason": NO_CALLBACK_URL.format(settings.listen)})
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

        config.max_connections = connections_within(system.max_connections)

        async def ready() -> None:
            nonlocal untold
            system.dispatcher.opened()
            # Objects of the start stay alive, and a run leaves few cycles.
            gc.freeze()
            gc.set_threshold(*COLLECTED_EVERY)
            gc.enable()
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


class Ending:
    """Stops the server on a signal: gracefully on the first, immediately on the second.

    A graceful stop refuses starts and gives attempts in flight their time, while terminations, reads and health checks
    are served, also on new connections. The port closes last.
    """

    def __init__(self, server: Server, system: System) -> None:
        self._server = server
        self._system = system
        self._draining: asyncio.Task[None] | None = None

    def signalled(self) -> None:
        """Handle a SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        if self._draining is None:
            log.info("draining", extra={"grace": self._system.grace})
            self._system.begin_shutdown()
            self._draining = loop.create_task(self._drain())
            return
        log.warning("the process ends", extra={"reason": "a second signal arrived while the server was draining"})
        self._system.skip_grace()
        self._draining.cancel()
        self._server.should_exit = self._server.force_exit = True
        loop.call_later(FATAL_PATIENCE, os._exit, Exit.ERROR)

    async def _drain(self) -> None:
        try:
            await self._system.drain()
        finally:
            self._server.should_exit = True


def _tell(data_dir: Path, url: str, system: System, ready_file: Path | None) -> None:
    """Write the profile and the ready file, now that the server accepts requests."""
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
    """Update the URL in the existing profile, and return its client id. A damaged profile does not prevent a start."""
    try:
        known = read_profile(kept)
    except Failure as failure:
        log.warning("the profile cannot be used", extra={"reason": failure.message, "remedy": "serve --new-client"})
        return {}
    if known.url != url:
        write_profile(kept.parent, Profile(url, known.client_id, known.client_secret))
    return {"client_id": known.client_id}
