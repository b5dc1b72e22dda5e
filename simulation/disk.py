"""A disk that keeps its word and not more: what was synced stays, what was not may be lost, in part, or torn.

SQLite's files are real ones, written through a VFS of ours that passes every call on and keeps beside it what a disk
would still hold if the power failed now. Nothing is ever really synced, which is why it is quick.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final

import apsw

from interlock.store.sqlite.room import Sizes

SECTOR: Final = 512
"""Bytes that a disk writes whole or not at all."""
DATABASE: Final = ".db"
LOG: Final = "-wal"
ROOM: Final = Sizes(log=256 * 1024, pages=256 * 1024, chunk=256 * 1024)
"""What a simulated store keeps: less than a real one, because each kill copies it."""
FILES: Final = (DATABASE, LOG)
"""How the names of the files end that SQLite keeps its data in."""


class Operation(StrEnum):
    """What SQLite asks of the disk, as far as it can go wrong."""

    LOG = "write to the log"
    LOG_ANEW = "write that begins the log anew"
    DATABASE = "write to the database"
    TRUNCATE = "truncation"
    SYNC = "sync"


class Strike(StrEnum):
    """The fault of one operation of the disk."""

    POWER = "power"
    """The machine stops before it."""
    ERROR = "error"
    """It fails: EIO."""


class PowerCut(apsw.IOError):
    """Raised into SQLite by an operation that the machine did not live to see."""


class Disk:
    """The disk of one machine, for as long as it is switched on.

    Args:
        name: of the VFS, one of its own for each machine.
        struck: asked before each operation of SQLite; an answer is the fault of the operation.
        lies: a sync of a file that ends in one of these only says that it was done.
    """

    def __init__(self, name: str, struck: Callable[[Operation], Strike | None], *, lies: tuple[str, ...] = ()) -> None:
        self.name = name
        self.full = False
        self.operations = 0
        self._struck = struck
        self._lies = lies
        self._files: dict[str, _Kept] = {}
        self._vfs = _Vfs(name, self)

    @property
    def unsynced(self) -> int:
        """Writes to the log that would be lost. What is not yet safe in the database still stands in the log."""
        return sum(len(kept.pending) for path, kept in self._files.items() if path.endswith(LOG))

    def free(self, path: Path) -> int:
        return 0 if self.full else 1 << 40

    def allocate(self, descriptor: int, size: int) -> None:
        """Give a file room: where the disk is full, no more than it has."""
        standing = os.fstat(descriptor).st_size
        if standing < size:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(descriptor, size)
            for path, kept in self._files.items():
                if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    _apply(kept.safe, size, b"")

    def before(self, operation: Operation, path: str, end: int = 0) -> None:
        """
        Args:
            end: of what is to be written, in bytes from the beginning of the file.

        Raises:
            apsw.Error: it is struck.
        """
        self.operations += 1
        strike = self._struck(operation)
        if strike is Strike.POWER:
            raise PowerCut
        if strike is Strike.ERROR:
            raise apsw.IOError("disk I/O error")
        if self.full and end > Path(path).stat().st_size:
            raise apsw.FullError("database or disk is full")

    def opened(self, path: str) -> _Kept:
        kept = self._files.get(path)
        if kept is None:
            file = Path(path)
            kept = self._files[path] = _Kept(bytearray(file.read_bytes() if file.exists() else b""))
        return kept

    def synced(self, path: str) -> None:
        if not path.endswith(self._lies):
            self._files[path].settle()

    def deleted(self, path: str) -> None:
        self._files.pop(path, None)

    def after_power_cut(self, chance: Random, from_: Path, into: Path) -> None:
        """Write down what is found when the machine is switched on again."""
        self.after_kill(from_, into)
        for path, kept in self._files.items():
            (into / Path(path).name).write_bytes(kept.survivors(chance))

    def after_kill(self, from_: Path, into: Path) -> None:
        """The same when only the process died: whatever it had written is there."""
        into.mkdir(parents=True, mode=0o700)
        for file in from_.iterdir():
            if file.name.endswith(FILES):
                (into / file.name).write_bytes(file.read_bytes())

    def close(self) -> None:
        self._vfs.unregister()


class _Kept:
    """One file: what is safe, and what was written since."""

    def __init__(self, safe: bytearray) -> None:
        self.safe = safe
        self.pending: list[tuple[int, bytes | None]] = []
        """(offset, data); without data the file was cut there."""

    def settle(self) -> None:
        for offset, data in self.pending:
            _apply(self.safe, offset, data)
        self.pending.clear()

    def survivors(self, chance: Random) -> bytes:
        found = bytearray(self.safe)
        fate = chance.choice(("all", "none", "some", "first"))
        first = chance.randrange(len(self.pending) + 1)
        for number, (offset, data) in enumerate(self.pending):
            if fate == "none" or (fate == "first" and number > first) or (fate == "some" and chance.random() < 0.5):
                continue
            if data is not None and fate == "first" and number == first:
                # The write in progress: some of its sectors.
                for start in range(0, len(data), SECTOR):
                    if chance.random() < 0.5:
                        _apply(found, offset + start, data[start : start + SECTOR])
            else:
                _apply(found, offset, data)
        return bytes(found)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "unix")
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = "" if name is None else name if isinstance(name, str) else name.filename()
        if not path.endswith(FILES) or not flags[0] & apsw.SQLITE_OPEN_READWRITE:
            return super().xOpen(name, flags)
        return _File(name, flags, path, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._disk.deleted(filename)


class _File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], path: str, disk: Disk) -> None:
        super().__init__("unix", name, flags)
        self._path = path
        self._disk = disk
        self._kept = disk.opened(path)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.before(self._write_at(offset), self._path, offset + len(data))
        self._kept.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.before(Operation.TRUNCATE, self._path)
        self._kept.pending.append((newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.before(Operation.SYNC, self._path)
        self._disk.synced(self._path)

    def _write_at(self, offset: int) -> Operation:
        if not self._path.endswith(LOG):
            return Operation.DATABASE
        return Operation.LOG_ANEW if offset == 0 and self.xFileSize() > 0 else Operation.LOG
