"""A file system of its own for a server's data, small enough to be filled."""

from __future__ import annotations

import errno
from pathlib import Path

_MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=128m,mode=700 none "$0" && exec "$@"'


def within(data: Path) -> list[str]:
    """The command that runs another with such a one at `data`, in name spaces of its own: no rights are needed for
    that where the system lets everybody make name spaces."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(data)]


def filler(pid: int, data: Path) -> Path:
    """A file on the disk of that process, seen through it."""
    return Path(f"/proc/{pid}/root{data}/filler")


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
