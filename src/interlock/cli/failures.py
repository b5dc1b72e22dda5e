"""How a command ends: the exit codes, and the failures that carry them."""

from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    """Exit codes. They are an interface: scripts depend on them, so a number never changes its meaning."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    PARTLY = 5
    TIMEOUT = 6


EXIT_CODES = """\b
Exit codes:
  0  done
  1  an error, or the answer to a question was no
  2  the command line is wrong
  3  nothing matched, or not found
  4  no or bad credentials, or not allowed
  5  done for some, not for others
  6  it took longer than the time given
"""
"""For the help text of a group; the first line keeps click from re-flowing it."""


class Failure(click.ClickException):
    """A command cannot go on. Shown on stderr as `Error: message`, with the hint below it."""

    def __init__(self, message: str, code: Exit = Exit.ERROR, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has one code per class; ours differ by failure
        return int(self.code)

    def show(self, file: IO[Any] | None = None) -> None:
        super().show(file)
        if self.hint:
            click.echo(self.hint, err=True)


class Unreachable(Failure):
    """The server gave no answer: it is not there, or the connection broke, or nothing came for too long."""


class Refused(Failure):
    """The server said no. `status` is the HTTP status."""

    def __init__(self, message: str, code: Exit, status: int) -> None:
        super().__init__(f"{message} (status {status})", code)
        self.status = status


def combined(done: int, failures: list[Exit]) -> Exit:
    """The exit code of a command over several things, of which `done` went well."""
    if not failures:
        return Exit.OK
    if done:
        return Exit.PARTLY
    return failures[0] if len(set(failures)) == 1 else Exit.ERROR
