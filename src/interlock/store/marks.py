"""The file `working`: the runs that are being evaluated. It outlives the process without a sync.

A write costs about two microseconds. Only the end of the machine can lose one, and no run causes that. At the start,
each run that the previous process had marked has one more loss; runs with losses stay in the file until they have
continued.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from interlock.rules.model import Ref

FILE_NAME: Final = "working"
MAX_MARKED_RUNS: Final = 4_096
"""Maximum number of runs that are marked at a time; further runs are not marked."""
_MAGIC: Final = b"interlock working 1\n".ljust(28)
_HEAD: Final = struct.Struct("<28sI")
_RECORD: Final = struct.Struct("<qqqq")
"""Tenant, id, losses, and whether the run is being evaluated: 1 yes, 2 no."""
_NONE: Final = bytes(_RECORD.size)
_IN_USE: Final = 1
_CLOSED: Final = 2
_WORKED_ON: Final = 1
_RESTING: Final = 2


class FileMarks:
    """`ports.Marks` in a file. Without room for the file no run is marked."""

    def __init__(self, path: Path) -> None:
        self.unclean = False
        self._losses: dict[Ref, int] = {}
        self._numbers: dict[Ref, int] = {}
        self._owners: dict[int, Ref] = {}
        self._free = list(range(MAX_MARKED_RUNS - 1, -1, -1))
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._read(self._descriptor)
            self._begin_file(self._descriptor)
        except OSError:
            self._let_go()

    @property
    def losses(self) -> Mapping[Ref, int]:
        return self._losses

    def begin(self, ref: Ref) -> int:
        number = self._numbers.get(ref, -1)
        if number < 0:
            if not self._free or self._descriptor is None:
                return -1
            number = self._free.pop()
        self._write(number, _RECORD.pack(ref.tenant, ref.id, self._losses.get(ref, 0), _WORKED_ON))
        return number

    def end(self, number: int) -> None:
        if number < 0:
            return
        owner = self._owners.get(number)
        if owner is None:
            self._write(number, _NONE)
            self._free.append(number)
        else:
            self._write(number, _RECORD.pack(owner.tenant, owner.id, self._losses[owner], _RESTING))

    def clear(self, ref: Ref) -> None:
        if self._losses.pop(ref, None) is not None:
            number = self._numbers.pop(ref)
            del self._owners[number]
            self._write(number, _NONE)
            self._free.append(number)

    def close(self) -> None:
        if self._descriptor is not None:
            try:
                os.pwrite(self._descriptor, _HEAD.pack(_MAGIC, _CLOSED), 0)
            except OSError:
                pass
            self._let_go()

    def abandon(self) -> None:
        """Close the file as it is, as the end of the process would; the simulator uses it."""
        self._let_go()

    def _read(self, descriptor: int) -> None:
        """Count a loss for each run that was being evaluated."""
        head = os.pread(descriptor, _HEAD.size, 0)
        if len(head) < _HEAD.size or _HEAD.unpack(head)[0] != _MAGIC:
            return
        self.unclean = _HEAD.unpack(head)[1] == _IN_USE
        records = os.pread(descriptor, MAX_MARKED_RUNS * _RECORD.size, _HEAD.size)
        whole = len(records) - len(records) % _RECORD.size
        for tenant, id_, losses, state in _RECORD.iter_unpack(records[:whole]):
            if state in (_WORKED_ON, _RESTING) and id_ > 0 and losses >= 0:
                lost = self.unclean and state == _WORKED_ON
                if losses + lost > 0:
                    self._losses[Ref(tenant, id_)] = losses + lost

    def _begin_file(self, descriptor: int) -> None:
        # The file has its full size now, so that no later write needs room.
        size = _HEAD.size + MAX_MARKED_RUNS * _RECORD.size
        os.posix_fallocate(descriptor, 0, size)
        content = bytearray(_HEAD.pack(_MAGIC, _IN_USE))
        for ref, losses in self._losses.items():
            number = self._free.pop()
            self._numbers[ref], self._owners[number] = number, ref
            content += _RECORD.pack(ref.tenant, ref.id, losses, _RESTING)
        os.pwrite(descriptor, bytes(content.ljust(size, b"\0")), 0)
        os.fsync(descriptor)

    def _write(self, number: int, record: bytes) -> None:
        if self._descriptor is not None:
            try:
                os.pwrite(self._descriptor, record, _HEAD.size + number * _RECORD.size)
            except OSError:
                self._let_go()

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
