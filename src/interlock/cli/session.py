"""The context of a command, injected by `main` or by a test."""

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
    """Whether stdout is a terminal: tables instead of JSON lines."""
    interactive: bool = False
    """Whether the command may ask questions: stdin and stderr are terminals."""
    profile: Path | None = None
    acted: bool = False
    """Whether the command has changed something on this machine."""
    unfinished: str = ""
    """Message for a user who interrupts the command now: what continues, and how to follow or stop it."""
    _api: Api | None = None

    @property
    def has_acted(self) -> bool:
        """Whether the command has changed something."""
        return self.acted or (self._api is not None and self._api.has_acted)

    @property
    def is_acting(self) -> bool:
        """Whether a request with a yet unknown effect is in progress."""
        return self._api is not None and self._api.is_acting

    def api(self) -> Api:
        """Return the API of the server; it is opened when first needed and closed when the command ends.

        Raises:
            Failure: There are no credentials.
        """
        if self._api is None:
            self._api = Api(find_profile(self.environ, self.profile), self.clock)
            click.get_current_context().find_root().call_on_close(self._api.close)
        return self._api

    def hint(self, text: str) -> None:
        """Print the next step for a user; print nothing for a program."""
        if self.interactive:
            tell(text)

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        tell(f"Warning: {text}")

    def report(self, failure: Failure, about: str = "") -> None:
        """Print the failure of one of several targets on stderr."""
        tell(f"Error: {about}{': ' if about else ''}{failure.message}")
        if failure.hint:
            tell(failure.hint)

    def confirmed(self, question: str, *, yes: bool) -> None:
        """Ask for confirmation before a change that cannot be undone. Without a terminal, do not ask.

        Raises:
            Failure: The answer was no.
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
                raise Failure("nothing was done: the answer was no", hint="Answer y, or add --yes.")
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
        help="table, JSON lines, or ids only. Default: table on a terminal, json otherwise.",
    )(command)


def limit_option(command: Command) -> Command:
    """Add `--limit`; the command takes `limit`, 0 for no limit."""
    return click.option(
        "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Maximum number of rows; 0 for all."
    )(command)
