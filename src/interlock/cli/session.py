"""What a command is given by `main`, so that a test can give it something else."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from interlock.cli.clock import Clock, WallClock
from interlock.cli.failures import Failure
from interlock.cli.http import Api
from interlock.cli.output import Form
from interlock.cli.profile import find_profile
from interlock.cli.terminal import one_line, tell


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
    acted: bool = False
    """The command has done something on this machine that stays done, whatever becomes of its output."""
    unfinished: str = ""
    """What to tell a person who interrupts the command now: what goes on, and how to follow or stop it."""
    _api: Api | None = None

    @property
    def has_acted(self) -> bool:
        """Whether the command has changed something."""
        return self.acted or (self._api is not None and self._api.has_acted)

    @property
    def is_acting(self) -> bool:
        """Whether a request is under way whose effect is not known yet."""
        return self._api is not None and self._api.is_acting

    def api(self) -> Api:
        """The server to talk to; looked up when first needed, and let go of when the command ends.

        Raises:
            Failure: there are none.
        """
        if self._api is None:
            self._api = Api(find_profile(self.environ, self.profile), self.clock)
            click.get_current_context().find_root().call_on_close(self._api.close)
        return self._api

    def hint(self, text: str) -> None:
        """Tell a person what to do next; a program is told nothing."""
        if self.interactive:
            tell(text)

    def warn(self, text: str) -> None:
        """Say on stderr what a person or the log of a program should know."""
        tell(f"Warning: {text}")

    def report(self, failure: Failure, about: str = "") -> None:
        """Say on stderr what went wrong with one of several things."""
        tell(f"Error: {about}{': ' if about else ''}{failure.message}")
        if failure.hint:
            tell(failure.hint)

    def confirmed(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone. Without anybody to ask, the command line itself is the answer.

        Raises:
            Failure: the answer was no.
        """
        if yes or not self.interactive:
            return
        while True:
            tell(f"{one_line(question)} [y/N]: ", end="")
            sys.stderr.flush()
            answer = sys.stdin.readline()
            said = answer.strip().lower()
            if said in ("y", "yes"):
                return
            if said in ("", "n", "no"):
                if not answer.endswith("\n"):
                    tell("")
                raise Failure("nothing was done: the answer was no", hint="Answer y, or say --yes.")
            tell("Answer y or n.")


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
