"""The command `interlock`: finds a command by name and imports its module when it is called."""

import errno
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import click

from interlock import __version__
from interlock.cli.failures import EXIT_CODES, SIGNAL_EXIT_BASE, Exit, OutputLost, reason_of
from interlock.cli.session import Session
from interlock.cli.streams import attach_streams, output_lost
from interlock.cli.terminal import tell

PRIVATE_UMASK = 0o077
"""Mode bits that no file of a command has."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and summary, and imports one when it is called.

    This is the one place that loads by name: `--help` and every client command start without the server's imports.
    """

    def __init__(
        self,
        *args: Any,
        commands_by_name: Mapping[str, tuple[str, str]],
        former_names: Mapping[str, str],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._by_name = commands_by_name
        self._former_names = former_names

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._by_name.get(self._former_names.get(cmd_name, cmd_name))
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command = getattr(_imported(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._by_name.items()])


def _imported(name: str) -> ModuleType:
    """Import a module without collecting garbage meanwhile: what an import makes stays."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collects:
            gc.enable()


@click.group(
    cls=LazyGroup,
    commands_by_name={
        "serve": ("interlock.cli.serve:serve", "Run the server."),
        "doctor": ("interlock.cli.doctor:doctor", "Examine what a server needs, and report problems."),
        "token": ("interlock.cli.token:token", "Print a bearer token."),
        "automations": ("interlock.cli.automations:automations", "Apply, list, run and delete automations."),
        "executions": ("interlock.cli.executions:executions", "List, watch and terminate executions."),
        "bulk-terminations": (
            "interlock.cli.terminations:bulk_terminations",
            "List, watch and abort bulk terminations.",
        ),
        "clients": ("interlock.cli.access:clients", "Create, list and revoke clients."),
        "backup": ("interlock.cli.backup:backup", "Create, verify and restore backups of a data directory."),
        "audit": ("interlock.cli.audit:audit", "Read and verify the audit record."),
        "settings": ("interlock.cli.settings:settings", "Disable automations, and set how long runs are kept."),
        "tenants": ("interlock.cli.access:tenants", "Create, list and revoke tenants."),
    },
    former_names={"terminations": "bulk-terminations"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Profile with the server's URL and your credentials: profile.json in the server's data directory.",
)
@click.pass_obj
def cli(session: Session, profile: Path | None) -> None:
    """Run automations and stop them reliably.

    The client commands read CONDUCTORONE_CLIENT_ID, CONDUCTORONE_CLIENT_SECRET and CONDUCTORONE_SERVER_URL, or the
    profile that serve wrote (in INTERLOCK_DATA_DIR, in ./.interlock, or in ~/.config/interlock).

    \b
    Examples:
      interlock serve --data-dir ./data
      interlock automations apply offboard.json
      interlock automations run "Offboard" --context '{"user": "ann"}' --wait 30
      interlock executions terminate 839265 --reason "wrong person"
    """
    session.profile = profile


def main() -> None:
    """Entry point of the installed command."""
    # Files of a command are private to its user: secrets, results, backups.
    os.umask(PRIVATE_UMASK)
    attach_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    session = Session(
        environ=os.environ,
        terminal=sys.stdout.isatty(),
        interactive=sys.stdin.isatty() and sys.stderr.isatty(),
    )
    sys.exit(outcome(session, sys.argv[1:]))


class Interrupted(KeyboardInterrupt):
    """A SIGTERM; it ends a command like Ctrl-C."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def outcome(session: Session, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code, which depends on what was done, not on what could be printed."""
    try:
        code = cli.main(list(arguments), prog_name="interlock", obj=session, standalone_mode=False) or Exit.OK
    except click.ClickException as failure:
        shown = io.StringIO()
        failure.show(shown)
        tell(shown.getvalue(), end="")
        code = failure.exit_code
        if isinstance(failure, OutputLost):
            return code
    except (click.Abort, KeyboardInterrupt) as end:
        return _interrupted(session, end)
    lost = output_lost()
    if lost is None or lost.errno == errno.EPIPE:
        return int(code)
    why = f"cannot write to stdout: {reason_of(lost)}"
    if not session.has_acted:
        tell(f"Error: {why}")
        return int(code) or int(Exit.ERROR)
    tell(f"Warning: {why}; the command was carried out, and only its output is lost")
    return int(code)


def _interrupted(session: Session, end: BaseException) -> int:
    cause = end if isinstance(end, KeyboardInterrupt) else end.__cause__
    number = signal.SIGTERM if isinstance(cause, Interrupted) else signal.SIGINT
    tell("Interrupted.")
    if session.unfinished:
        tell(session.unfinished)
    elif session.is_acting:
        tell("The server had not answered yet: the request may or may not have been carried out.")
    elif not session.has_acted:
        tell("Nothing was changed.")
    return SIGNAL_EXIT_BASE + number
