"""A disk that loses its power: from the log of a server's system calls, what it may hold afterwards.

What was written and not synced may be there, or not, or in part, and in any order: that is all that a disk promises. So
at any moment of the log an image of the database is what was synced, and of everything since then a choice: all, none,
the beginning, some, or some sectors. The same holds for the names in the directory.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SECTOR = 512
CALLS = ("openat", "pwrite64", "write", "writev", "sendmsg", "fdatasync", "fsync", "ftruncate", "unlink", "rename")
CALLS_OF_SOCKETS = ("accept4", "close")
_LINE = re.compile(r"(\d+) +(?:(\w+)\((.*)|<\.\.\. (\w+) resumed>(.*))", re.DOTALL)
_ANSWER = "".join(f"\\x{byte:02x}" for byte in b"HTTP/1.1 ")
_LAST = re.compile(r", (\d+)(?:\)| *<unfinished|\s*$)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Kept(StrEnum):
    """What became of that which was not synced."""

    ALL = "all"
    NONE = "none"
    BEGINNING = "beginning"
    SOME = "some"
    SECTORS = "sectors"


# --- the log ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wrote:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncated:
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Created:
    file: str


@dataclass(frozen=True, slots=True)
class Removed:
    file: str


@dataclass(frozen=True, slots=True)
class SyncBegan:
    """From here on whatever is written is not covered by the sync of this thread."""

    thread: int
    file: str


@dataclass(frozen=True, slots=True)
class Synced:
    thread: int
    file: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The first bytes of an answer leave. They are numbered from 1."""

    number: int


Change = Wrote | Truncated | Created | Removed
Event = Change | SyncBegan | Synced | Answered
DIRECTORY = "."


def events(log: Path, directory: Path) -> Iterator[Event]:
    """What the log says of the files in the directory, and of answers. A write counts from when it begins."""
    files: dict[int, str] = {}
    accepted: set[int] = set()
    begun: dict[int, tuple[str, str]] = {}
    answers = 0
    with log.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line)
            if found is None:
                continue
            thread = int(found[1])
            if found[4]:
                call, arguments = begun.pop(thread)
                arguments += found[5]
                ended, began = True, False
            else:
                call, arguments = found[2], found[3]
                ended, began = "<unfinished ...>" not in arguments, True
                if not ended:
                    begun[thread] = call, arguments.replace("<unfinished ...>", "")
            descriptor = _number(arguments)
            name = files.get(descriptor) if descriptor is not None else None
            match call:
                case "openat" if ended:
                    opened, result = _path(arguments, directory), _result(arguments)
                    files.pop(result, None)
                    accepted.discard(result)
                    if opened is not None and result >= 0:
                        files[result] = opened
                        if "O_CREAT" in arguments:
                            yield Created(opened)
                case "accept4" if ended:
                    accepted.add(_result(arguments))
                case "close" if began and descriptor is not None:
                    files.pop(descriptor, None)
                    accepted.discard(descriptor)
                case "pwrite64" if began and name is not None:
                    text = _TEXT.search(arguments)
                    assert text is not None
                    yield Wrote(name, _last_number(arguments), _bytes(text[1]))
                case "ftruncate" if began and name is not None:
                    yield Truncated(name, _last_number(arguments))
                case "unlink" if ended and _result(arguments) == 0:
                    removed = _path(arguments, directory)
                    if removed is not None:
                        yield Removed(removed)
                case "fdatasync" | "fsync" if name is not None:
                    if began:
                        yield SyncBegan(thread, name)
                    if ended and _result(arguments) == 0:
                        yield Synced(thread, name)
                case "write" | "writev" | "sendmsg" if began and descriptor in accepted and _ANSWER in arguments:
                    answers += 1
                    yield Answered(answers)


def _number(arguments: str) -> int | None:
    found = re.match(r"(\d+)", arguments)
    return None if found is None else int(found[1])


def _last_number(arguments: str) -> int:
    """The last argument, whether or not the result stands behind it."""
    found = _LAST.search(arguments)
    assert found is not None
    return int(found[1])


def _result(arguments: str) -> int:
    return int(arguments.rpartition("= ")[2].split()[0])


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _path(arguments: str, directory: Path) -> str | None:
    """The name within the directory, `DIRECTORY` for itself, None for what lies elsewhere."""
    text = _TEXT.search(arguments)
    if text is None:
        return None
    path = Path(_bytes(text[1]).decode())
    if path == directory:
        return DIRECTORY
    return path.name if path.parent == directory else None


# --- the disk ---------------------------------------------------------------------------------------------------------


@dataclass
class Disk:
    """The synced content, the changes since then, and how many of them each sync in progress covers."""

    files: dict[str, bytearray]
    pending: list[Change] = field(default_factory=list)
    syncing: dict[int, int] = field(default_factory=dict)
    """By thread, how much had been changed when its sync began."""

    @classmethod
    def of(cls, directory: Path, names: Sequence[str]) -> Disk:
        return cls({name: bytearray((directory / name).read_bytes()) for name in names if (directory / name).exists()})

    def take(self, event: Event) -> None:
        match event:
            case Answered():
                pass
            case SyncBegan(thread, _):
                self.syncing[thread] = len(self.pending)
            case Synced(thread, name):
                self._sync(name, self.syncing.pop(thread))
            case Created(name):
                known = name in self.files or any(
                    isinstance(change, Created) and change.file == name for change in self.pending
                )
                if not known or any(isinstance(change, Removed) and change.file == name for change in self.pending):
                    self.pending.append(event)
            case _:
                self.pending.append(event)

    def _sync(self, name: str, covered: int) -> None:
        """A file's sync makes its content safe, and its name if that is new; a directory's, the names in it."""
        left: list[Change] = []
        for index, change in enumerate(self.pending):
            names = isinstance(change, Created | Removed)
            safe = names if name == DIRECTORY else change.file == name
            if index < covered and safe:
                apply(self.files, change)
            else:
                left.append(change)
        shrunk = len(self.pending) - len(left)
        self.pending = left
        self.syncing = {thread: max(0, count - shrunk) for thread, count in self.syncing.items()}

    def image(self, kept: Kept, chance: random.Random) -> dict[str, bytearray]:
        """The files as they may be found."""
        files = {name: bytearray(content) for name, content in self.files.items()}
        for change in self._survivors(kept, chance):
            apply(files, change)
        return files

    def _survivors(self, kept: Kept, chance: random.Random) -> Iterator[Change]:
        match kept:
            case Kept.ALL:
                yield from self.pending
            case Kept.NONE:
                return
            case Kept.BEGINNING:
                yield from self.pending[: chance.randint(0, len(self.pending))]
            case Kept.SOME:
                likely = chance.random()
                yield from (change for change in self.pending if chance.random() < likely)
            case Kept.SECTORS:
                likely = chance.random()
                for change in self.pending:
                    if isinstance(change, Wrote):
                        for start in range(0, len(change.data), SECTOR):
                            if chance.random() < likely:
                                piece = change.data[start : start + SECTOR]
                                yield Wrote(change.file, change.offset + start, piece)
                    elif chance.random() < likely:
                        yield change


def apply(files: dict[str, bytearray], change: Change) -> None:
    """Make the change. What is written to a name that is not there is lost with it."""
    match change:
        case Created(name):
            files.setdefault(name, bytearray())
        case Removed(name):
            files.pop(name, None)
        case Truncated(name, size) if name in files:
            content = files[name]
            del content[size:]
            content.extend(bytes(size - len(content)))
        case Wrote(name, offset, data) if name in files:
            content = files[name]
            if len(content) < offset:
                content.extend(bytes(offset - len(content)))
            content[offset : offset + len(data)] = data


def without_syncs(happened: Sequence[Event], of: Callable[[str], bool]) -> list[Event]:
    """The log of a program that does not sync these files."""
    return [event for event in happened if not (isinstance(event, SyncBegan | Synced) and of(event.file))]
