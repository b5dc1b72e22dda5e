"""What a command is given by `main`, so that a test can give it something else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from interlock.cli.clock import Clock, WallClock
from interlock.cli.http import Api
from interlock.cli.output import Form
from interlock.cli.profile import find_profile


@dataclass(slots=True)
class Session:
    """One run of the command line."""

    environ: Mapping[str, str]
    clock: Clock = field(default_factory=WallClock)
    terminal: bool = False
    """stdout is one: tables, not JSON lines."""
    interactive: bool = False
    """There is somebody to ask: stdin and stderr are terminals."""
    profile: Path | None = None
    _api: Api | None = None

    def api(self) -> Api:
        """The server to talk to; looked up when first needed, and let go of when the command ends.

        Raises:
            Failure: there are none.
        """
        if self._api is None:
            self._api = Api(find_profile(self.environ, self.profile))
            click.get_current_context().find_root().call_on_close(self._api.close)
        return self._api

    def hint(self, text: str) -> None:
        """Tell a person what to do next; a program is told nothing."""
        if self.interactive:
            click.echo(text, err=True)

    def confirmed(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone. Without anybody to ask, the command line itself is the answer.

        Raises:
            click.Abort: the answer was no.
        """
        if not yes and self.interactive:
            click.confirm(question, abort=True, err=True)


Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(command: Command) -> Command:
    """Add `-o`; the command takes `output`, which is never None."""

    def chosen(context: click.Context, _parameter: click.Parameter, value: Form | None) -> Form:
        session = context.find_object(Session)
        return value or ("table" if session is not None and session.terminal else "json")

    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "ids"]),
        callback=chosen,
        help="table, JSON lines, or ids alone. Default: table on a terminal, json otherwise.",
    )(command)


def limit_option(command: Command) -> Command:
    """Add `--limit`; the command takes `limit`, 0 for no limit."""
    return click.option(
        "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="At most so many; 0 for all."
    )(command)
