"""A file system of its own for a server's data, small enough to be filled."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Self

_MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=128m,mode=700 none "$0" && exec "$@"'


def within(data: Path) -> list[str]:
    """The command that runs another with such a one at `data`, in name spaces of its own: no rights are needed for
    that where the system lets every user make name spaces."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(data)]


def filler(pid: int, data: Path) -> Path:
    """A file on the disk of that process, seen through it."""
    return Path(f"/proc/{pid}/root{data}/filler")


class Neighbour:
    """A neighbour that takes all room on the disk as soon as there is any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="neighbour")
        self.taken = 0
        """Times that it found room."""

    def __enter__(self) -> Self:
        fill(self._path)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ending.set()
        self._thread.join()

    def _fill(self) -> None:
        while not self._ending.wait(0.001):
            before = self._path.stat().st_size
            fill(self._path)
            self.taken += self._path.stat().st_size > before


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
