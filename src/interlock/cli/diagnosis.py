"""The checks of `interlock doctor`: each examines one thing that a server needs, and changes nothing."""

from __future__ import annotations

import errno
import os
import platform
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from interlock.cli.failures import reason_of, system_failure
from interlock.cli.listening import AnotherService, authority_of, bound, readiness_at
from interlock.cli.server_options import ENVIRONMENT_PREFIX, NO_CALLBACK_URL, check_tls
from interlock.contract.base import Message
from interlock.engine.clock_watch import CLOCK_DRIFT_MICROSECONDS, FAR
from interlock.errors import Fatal, InvalidArgument, NotFound
from interlock.net.egress import EgressPolicy
from interlock.ports.system import EXECUTION_IDS_SINCE
from interlock.rules.model import SECOND
from interlock.secrets.keys import KEY_FILE, keys_in, read_key_file
from interlock.secrets.vault import key_id
from interlock.settings import Settings, is_unspecified
from interlock.steps.kind import Step, unconfigured
from interlock.store.sqlite.backup import frozen
from interlock.store.sqlite.connection import OLDEST_SQLITE, sqlite_version
from interlock.store.sqlite.disk import LEAST, PRIVATE, ROOM, access_of, free_bytes
from interlock.store.sqlite.examination import Examination, examine

CHECK_SECONDS: Final = 60.0
"""Seconds after which the check of the database ends unfinished: while it reads, the log of a server can only grow."""
OLDEST_PYTHON: Final = (3, 11)

_MEBIBYTE: Final = 1024 * 1024


class Level(StrEnum):
    """Whether something has to be done."""

    OK = "ok"
    WARNING = "warning"
    """A server runs, without something or not for long."""
    PROBLEM = "problem"
    """A server does not start, or is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, and what to do about it."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def diagnosis(
    settings: Settings, kinds: Iterable[type[Step[Message]]], now: int, is_late: Callable[[], bool]
) -> Iterator[Finding]:
    """Yield the findings of all checks.

    Args:
        settings: The settings of the server.
        kinds: The step kinds of this release.
        now: The wall clock, in microseconds.
        is_late: Returns whether the time for the check of the database has passed.
    """
    yield from versions()
    yield from options(settings)
    yield from data_directory(settings.data_dir)
    found: Examination | None = None
    try:
        found = examine(settings.data_dir, is_late)
    except NotFound:
        yield Finding("database", Level.OK, "there is none yet; the first start of a server creates it")
    except (Fatal, OSError) as error:
        text = error.message if isinstance(error, Fatal) else system_failure(error)
        yield Finding("database", Level.PROBLEM, text, "restore a backup (interlock backup restore --help)")
    else:
        yield from database(settings.data_dir, found)
    yield from secrets_key(settings.data_dir, found.keys if found is not None else frozenset())
    yield from clock(now, found)
    yield from address(settings)
    yield from step_kinds(kinds, settings.of_kinds)


def versions() -> Iterator[Finding]:
    """Check the versions of Python and SQLite."""
    text = f"Python {platform.python_version()}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Finding("python", Level.PROBLEM, f"{text} is too old", "install Python 3.11 or newer")
    else:
        yield Finding("python", Level.OK, text)
    number, text = sqlite_version()
    if number < OLDEST_SQLITE:
        yield Finding(
            "sqlite", Level.PROBLEM, f"SQLite {text} is too old", "install the package apsw with SQLite 3.51.3 or newer"
        )
    else:
        yield Finding("sqlite", Level.OK, f"SQLite {text}")


def options(settings: Settings) -> Iterator[Finding]:
    """Check the options of a server that can be wrong."""
    is_right = True
    for check in (
        lambda: settings.address,
        lambda: settings.reached_at,
        lambda: check_tls(settings),
        lambda: EgressPolicy.parse(settings.allow_egress),
    ):
        try:
            check()
        except InvalidArgument as error:
            is_right = False
            yield Finding("options", Level.PROBLEM, error.message, "change the option (interlock serve --help)")
    if not is_right:
        return
    if not settings.public_url and not settings.hosts and is_unspecified(settings.address[0]):
        reason, _, remedy = NO_CALLBACK_URL.format(settings.listen).partition("; ")
        yield Finding("options", Level.WARNING, reason, remedy)
    else:
        yield Finding("options", Level.OK, "the options of the server are valid")


def data_directory(directory: Path, free: Callable[[Path], int] = free_bytes) -> Iterator[Finding]:
    """Check that the data directory can be used, who has access to it, and that its disk has room.

    Args:
        directory: The data directory.
        free: Returns the free bytes of the disk of a path.
    """
    name = "data directory"
    as_owner = "run the command and the server as the owner, or give their user access"
    try:
        access = access_of(directory)
    except FileNotFoundError:
        yield from _missing_directory(directory, free)
        return
    except OSError as error:
        yield Finding(name, Level.PROBLEM, system_failure(error), as_owner)
        return
    for text in access.unusable:
        yield Finding(name, Level.PROBLEM, text, "a server does not start with it")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(name, Level.PROBLEM, f"this user cannot write to {directory}", as_owner)
        return
    if access.shared and not access.unusable:
        names = ", ".join(str(path) for path in access.shared)
        remedy = "run chmod go-rwx on them; the next start of a server does it, too"
        yield Finding(name, Level.WARNING, f"other users have access to {names}", remedy)
    elif not access.unusable:
        yield Finding(name, Level.OK, f"{directory} is writable and private")
    if frozen(directory):
        yield Finding(
            name,
            Level.WARNING,
            f"{directory} was restored from a backup and is frozen: no run moves",
            f"check the active runs, and release them: interlock backup release --data-dir {directory}",
        )
    yield _disk(free(directory))


def _missing_directory(directory: Path, free: Callable[[Path], int]) -> Iterator[Finding]:
    parent = next(each for each in directory.absolute().parents if each.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        text = f"{directory} does not exist; the first start of a server creates it"
        yield Finding("data directory", Level.OK, text)
    else:
        text = f"{directory} does not exist, and this user cannot create it in {parent}"
        remedy = "create it, and make the user of the server its owner"
        yield Finding("data directory", Level.PROBLEM, text, remedy)
    yield _disk(free(parent))


def _disk(free: int) -> Finding:
    text, room = f"{free // _MEBIBYTE:,} MiB are free", f"free {ROOM // _MEBIBYTE} MiB"
    if free < LEAST:
        return Finding("disk", Level.PROBLEM, text, f"{room}: a server accepts no new runs")
    if free < ROOM:
        return Finding(
            "disk", Level.WARNING, text, f"{room}: below {LEAST // _MEBIBYTE} MiB a server accepts no new runs"
        )
    return Finding("disk", Level.OK, text)


def database(directory: Path, found: Examination) -> Iterator[Finding]:
    """Check the schema and the integrity of the database."""
    if found.schema < found.known_schema:
        yield Finding(
            "schema",
            Level.WARNING,
            f"the database has schema {found.schema}, and the next start of this version changes it to "
            f"{found.known_schema}, which older versions cannot read",
            f"create a backup before the upgrade: interlock backup create FILE --data-dir {directory}",
        )
    else:
        yield Finding("schema", Level.OK, f"the database has schema {found.schema}, that of this version")
    if found.damage:
        remedy = "stop the server, and restore a backup (interlock backup restore --help)"
        yield Finding("database", Level.PROBLEM, f"the database is damaged: {found.damage}", remedy)
    elif not found.is_complete:
        yield Finding(
            "database",
            Level.WARNING,
            f"the quick check did not end within {CHECK_SECONDS:g} s",
            f"check a copy as a whole: interlock backup create FILE --data-dir {directory}",
        )
    else:
        yield Finding("database", Level.OK, "the quick check found no damage")


def secrets_key(directory: Path, needed: frozenset[bytes]) -> Iterator[Finding]:
    """Check that the key file is private, and that it has every key that encrypted values need."""
    name, file = "secrets key", directory / KEY_FILE
    lost = f"put the former {KEY_FILE} into {directory}, with mode 0600; a backup does not contain it"
    try:
        text = read_key_file(file)
        keys = frozenset(key_id(key) for key in keys_in(file, text)) if text is not None else frozenset()
        mode = stat.S_IMODE(file.stat().st_mode) if text is not None else 0
    except Fatal as error:
        yield Finding(name, Level.PROBLEM, error.message, lost)
        return
    except OSError as error:
        yield Finding(name, Level.PROBLEM, system_failure(error), "run the command as the user of the server")
        return
    missing = ", ".join(sorted(key.hex() for key in needed - keys))
    if text is None and needed:
        yield Finding(name, Level.PROBLEM, f"{file} is missing, and values are encrypted with {missing}", lost)
    elif missing:
        yield Finding(name, Level.PROBLEM, f"values are encrypted with {missing}, which {file} does not have", lost)
    elif mode & PRIVATE:
        remedy = f"run chmod 600 {file}; if others may have read it, rotate the key"
        yield Finding(name, Level.PROBLEM, f"other users can read {file} (mode {mode:o})", remedy)
    elif text is None:
        yield Finding(name, Level.OK, "there is none yet, and no value is encrypted; a server creates it")
    else:
        yield Finding(name, Level.OK, f"{file} is private and has every key that is needed")


def clock(now: int, found: Examination | None) -> Iterator[Finding]:
    """Compare the wall clock with the records of the database."""
    if now < EXECUTION_IDS_SINCE * 1_000:
        yield Finding("clock", Level.PROBLEM, f"the clock says {_instant(now)}", "set the clock of the machine")
        return
    newest = found.newest if found is not None else None
    confirm = f"if the clock is right, start the server once with --confirm-clock {_instant(now)[:10]}"
    if newest is not None and newest - now > CLOCK_DRIFT_MICROSECONDS:
        text = f"the clock says {_instant(now)}, and the newest record is of {_instant(newest)}"
        yield Finding("clock", Level.PROBLEM, text, f"set the clock of the machine; {confirm}")
    elif found is not None and found.held is not None:
        text = f"nothing old is removed: the clock was far from the newest record of {_instant(found.held)}"
        yield Finding("clock", Level.WARNING, text, confirm)
    elif newest is not None and now - newest > FAR:
        text = f"the clock says {_instant(now)}, and the newest record is of {_instant(newest)}"
        yield Finding("clock", Level.WARNING, text, confirm)
    else:
        yield Finding("clock", Level.OK, f"the clock says {_instant(now)}")


def address(settings: Settings) -> Iterator[Finding]:
    """Check whether the configured address is free, or a server answers there."""
    name = "address"
    try:
        host, port = settings.address
    except InvalidArgument:
        return
    if port == 0:
        yield Finding(name, Level.OK, "a start selects a free port")
        return
    another = f"choose another address: --listen HOST:PORT or the variable {ENVIRONMENT_PREFIX}_LISTEN"
    try:
        # A socket that does not listen keeps no server from this address.
        bound(host, port).close()
    except (OSError, ValueError) as error:
        if not isinstance(error, OSError) or error.errno != errno.EADDRINUSE:
            yield Finding(name, Level.PROBLEM, f"cannot listen on {settings.listen}: {reason_of(error)}", another)
            return
    else:
        yield Finding(name, Level.OK, f"{settings.listen} is free; no server runs there")
        return
    is_tls = settings.tls_cert is not None
    url = f"{'https' if is_tls else 'http'}://{authority_of(host, port)}"
    try:
        found = readiness_at(host, port, tls=is_tls)
    except AnotherService as error:
        text = f"{settings.listen} is in use, and no server with these options answers there: {error}"
        yield Finding(name, Level.PROBLEM, text, f"stop the other service, or {another}")
        return
    reasons = "; ".join(f"{about}: {why}" for about, why in sorted(found.reasons.items()))
    text = f"a server answers at {url} and is {found.status}{f' ({reasons})' if reasons else ''}"
    if found.status == "ready":
        yield Finding(name, Level.OK, text)
    else:
        yield Finding(name, Level.WARNING, text, "read the log of the server if this lasts")


def step_kinds(kinds: Iterable[type[Step[Message]]], given: Mapping[str, str]) -> Iterator[Finding]:
    """Check which step kinds have the settings that they require."""
    for step in kinds:
        found = unconfigured(step, given)
        if found is None:
            yield Finding(f"step kind {step.kind}", Level.OK, "available")
            continue
        usage = " and ".join(setting.usage for setting in found.missing)
        remedy = f"if you need steps of this kind, start the server with {usage}"
        yield Finding(f"step kind {step.kind}", Level.WARNING, "unavailable: a setting is missing", remedy)


def _instant(at: int) -> str:
    try:
        return datetime.fromtimestamp(at // SECOND, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{at} microseconds after 1970"
