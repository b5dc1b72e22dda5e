"""`interlock backup`: copies of a data directory on this machine, with or without a running server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from interlock.cli.failures import EXIT_CODES, Exit, Failure, system_failure
from interlock.cli.output import Column, Form, instant, print_object, print_rows
from interlock.cli.session import Session, output_option
from interlock.errors import InterlockError, NotFound
from interlock.store.sqlite import backup as store

Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS: tuple[Column, ...] = (
    ("EXECUTION", lambda row: row["execution"]),
    ("STATE", lambda row: row["state"]),
    ("AUTOMATION", lambda row: row["automation"]),
    ("STEP", lambda row: row["step"] + 1),
    ("LAST CHANGE", lambda row: instant(row["updatedAt"])),
)


def _data_dir(command: Command) -> Command:
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="INTERLOCK_DATA_DIR",
        default=Path(".interlock"),
        show_default=True,
        help="The data directory.",
    )(command)


@click.group(epilog=EXIT_CODES)
def backup() -> None:
    """Create, verify and restore backups of a data directory."""


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_data_dir
@output_option
@click.pass_obj
def create(session: Session, file: Path, data_dir: Path, output: Form) -> None:
    """Copy the database of a data directory to FILE at one moment, and verify the copy.

    The server may keep running. `verify` detects damage with FILE.sha256. The copy holds the data of all runs: protect
    it like the data directory. Secret results are encrypted in it, and their key, secrets.key, is not in it: keep a
    copy of that file elsewhere.

    \b
    Examples:
      interlock backup create /backups/interlock-monday.db --data-dir /var/lib/interlock
    """
    with _told():
        made = store.create(data_dir, file)
    session.acted = True
    print_object(output, asdict(made), "file")


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@output_option
def verify(file: Path, output: Form) -> None:
    """Verify that FILE is undamaged and that this version can restore it.

    \b
    Examples:
      interlock backup verify /backups/interlock-monday.db
    """
    with _told():
        print_object(output, asdict(store.verify(file)), "file")


@backup.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_data_dir
@output_option
@click.pass_obj
def restore(session: Session, file: Path, data_dir: Path, output: Form) -> None:
    """Create a data directory from FILE. A server on it is frozen: runs can be read and terminated, and none moves.

    The backup contains nothing that happened after it. `interlock backup attempts` lists the runs that were active;
    after a check, `interlock backup release` lets them continue at the next start.

    A backup contains no client's secret. Existing clients stay valid; for a new one, start the server once with
    `interlock serve --new-client`. Nor does it contain the key of secret results: put secrets.key of the former data
    directory into the new one before its first start.

    \b
    Examples:
      interlock backup restore /backups/interlock-monday.db --data-dir ./restored
    """
    with _told():
        restored = store.restore(file, data_dir, session.clock.wall())
    session.acted = True
    print_object(output, asdict(restored), "file")
    session.hint(
        f"The data directory is frozen. Check the active runs: interlock backup attempts --data-dir {data_dir}"
    )
    session.hint(
        f"A backup contains no key of secret results. Before the first start, copy the former secrets.key to {data_dir}"
    )
    session.hint(
        f"A backup contains no client's secret. Create a new client: interlock serve --data-dir {data_dir} --new-client"
    )


@backup.command()
@_data_dir
@output_option
def attempts(data_dir: Path, output: Form) -> None:
    """List the runs that were active in the backup; what they did later is unknown.

    \b
    Examples:
      interlock backup attempts --data-dir ./restored
    """
    with _told():
        found = store.open_attempts(data_dir)
    rows = (
        {
            "execution": str(attempt.execution),
            "state": attempt.state,
            "automation": attempt.automation,
            "step": attempt.step,
            "updatedAt": datetime.fromtimestamp(attempt.updated_at / 1_000_000, UTC).isoformat().replace("+00:00", "Z"),
        }
        for attempt in found
    )
    print_rows(output, rows, _COLUMNS, "execution")


@backup.command()
@_data_dir
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def release(session: Session, data_dir: Path, yes: bool) -> None:
    """Release a restored data directory: its runs continue at the next start. Stop the server first.

    \b
    Examples:
      interlock backup release --data-dir ./restored
    """
    session.confirmed("Release the runs? Steps that were done after the backup may be repeated.", yes=yes)
    with _told():
        if not store.release(data_dir, session.clock.wall()):
            raise Failure(f"{data_dir} is not frozen", Exit.NOT_FOUND)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except InterlockError as error:
        raise Failure(error.message, Exit.NOT_FOUND if isinstance(error, NotFound) else Exit.ERROR) from error
    except OSError as error:
        raise Failure(system_failure(error)) from error
