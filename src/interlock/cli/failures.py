"""Exit codes of the commands, and the failures that carry them."""

import os
from enum import IntEnum
from typing import IO, Any

import click

from interlock.cli.terminal import lines, tell


class Exit(IntEnum):
    """Exit codes. Scripts depend on them, so a number never changes its meaning."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    PARTLY = 5
    TIMEOUT = 6


SIGNAL_EXIT_BASE = 128
"""Exit code of a command that a signal ended, less the number of the signal: 130 for Ctrl-C, 143 for SIGTERM."""

EXIT_CODES = """\b
Exit codes:
  0  done
  1  an error, or a confirmation was declined
  2  wrong command line
  3  nothing matched, or not found
  4  missing or invalid credentials, or not permitted
  5  done for some targets only
  6  not finished in time
  130, 143  ended by Ctrl-C, by SIGTERM
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
        """Print the message and the hint. Both may contain text of a server or a file."""
        text = f"Error: {self.message}" + (f"\n{self.hint}" if self.hint else "")
        if file is None:
            tell(text)
        else:
            click.echo(lines(text), file=file)


class OutputLost(Failure):
    """What a command had to hand over, and cannot show a second time, could not be written to stdout."""


class Unreachable(Failure):
    """The server gave no answer: it is not there, or the connection broke, or nothing came for too long.

    Attributes:
        transient: Whether a retry may succeed, for example after a restart.
        sent: Whether the request may have arrived.
    """

    def __init__(
        self, message: str, code: Exit = Exit.ERROR, *, hint: str = "", transient: bool = True, sent: bool = True
    ) -> None:
        super().__init__(message, code, hint=hint)
        self.transient = transient
        self.sent = sent


class Refused(Failure):
    """The server refused a request.

    Attributes:
        status: HTTP status.
        retry_after: Seconds until the server accepts a retry; None if it did not say.
        before: Whether the request itself was not sent, because its token was refused.
    """

    def __init__(
        self,
        message: str,
        code: Exit,
        status: int,
        *,
        hint: str = "",
        retry_after: float | None = None,
        before: bool = False,
    ) -> None:
        super().__init__(f"{message} (status {status})", code, hint=hint)
        self.status = status
        self.retry_after = retry_after
        self.before = before


def reason_of(error: OSError | UnicodeError | ValueError) -> str:
    """Return why something failed, without the number of a system error and without the path."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def system_failure(error: OSError) -> str:
    """Return a system error with its path, if it has one."""
    path = error.filename2 or error.filename
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return f"{path}: {reason_of(error)}" if isinstance(path, str) else reason_of(error)


def combined(done: int, failures: list[Exit]) -> Exit:
    """Return the exit code of a command for several targets, of which `done` succeeded."""
    if not failures:
        return Exit.OK
    if done:
        return Exit.PARTLY
    return failures[0] if len(set(failures)) == 1 else Exit.ERROR
