"""A disk that keeps its word and not more: what was synced stays, what was not may be lost, in part, or torn.

SQLite's files are real ones, written through a VFS of ours that passes every call on and keeps beside it what a disk
would still hold if the power failed now. Nothing is ever really synced, which is why it is quick.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Final

import apsw

SECTOR: Final = 512
"""Bytes that a disk writes whole or not at all."""
RESERVE: Final = 8 * 1024 * 1024


class Strike(StrEnum):
    """What befalls one operation of the disk."""

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
        struck: asked before each write and sync of SQLite; an answer befalls the operation.
        lies: a sync only says that it was done.
    """

    def __init__(self, name: str, struck: Callable[[str], Strike | None], *, lies: bool = False) -> None:
        self.name = name
        self.full = False
        self.operations = 0
        self._struck = struck
        self._lies = lies
        self._files: dict[str, _Kept] = {}
        self._vfs = _Vfs(name, self)

    @property
    def unsynced(self) -> int:
        """Writes that would be lost."""
        return sum(len(kept.pending) for kept in self._files.values())

    def free(self, path: Path) -> int:
        return 0 if self.full else 1 << 40

    def before(self, operation: str, path: str) -> None:
        """
        Raises:
            apsw.Error: it is struck.
        """
        self.operations += 1
        strike = self._struck(operation)
        if strike is Strike.POWER:
            raise PowerCut
        if strike is Strike.ERROR:
            raise apsw.IOError("disk I/O error")
        # What is kept in reserve is room that others do not have.
        if self.full and operation == "write" and Path(path).with_name("reserve").exists():
            raise apsw.FullError("database or disk is full")

    def opened(self, path: str) -> _Kept:
        kept = self._files.get(path)
        if kept is None:
            file = Path(path)
            kept = self._files[path] = _Kept(bytearray(file.read_bytes() if file.exists() else b""))
        return kept

    def synced(self, path: str) -> None:
        if not self._lies:
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
            if file.name.endswith((".db", "-wal")):
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
                # The write that was under way: some of its sectors.
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
        self._open: set[str] = set()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = "" if name is None else name if isinstance(name, str) else name.filename()
        # Only the writing connection writes, and it is the first to open each file.
        if not path.endswith((".db", "-wal")) or path in self._open:
            return super().xOpen(name, flags)
        self._open.add(path)
        return _File(name, flags, path, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._open.discard(filename)
        self._disk.deleted(filename)


class _File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], path: str, disk: Disk) -> None:
        super().__init__("unix", name, flags)
        self._path = path
        self._disk = disk
        self._kept = disk.opened(path)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.before("write", self._path)
        self._kept.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.before("truncate", self._path)
        self._kept.pending.append((newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.before("sync", self._path)
        self._disk.synced(self._path)
