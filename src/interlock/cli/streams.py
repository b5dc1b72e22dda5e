"""The standard streams of a command: always present, and never the reason why it ends.

A command may be started without stdin, stdout or stderr, and its output may go to a full disk or to a closed pipe. The
exit code depends on what the command did; lost output is recorded here and reported where possible.
"""

import errno
import io
import os
import select
import sys
from typing import Any, TextIO, cast


class GuardedWriter(io.FileIO):
    """A descriptor whose writes never fail: the first error is kept in `lost`, and later data is dropped.

    It stands below the text without a buffer between them. An interrupt may fall behind a write that was made, and a
    buffer, which cannot know that, would write the same once more.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of the data, as bytes; once a write has failed, take everything and write nothing."""
        whole = left = memoryview(data)
        while left.nbytes and self.lost is None:
            try:
                written = super().write(left)
            except OSError as error:
                self.lost = error
                break
            if written is None:
                # Another process has set the descriptor to not block, and it is full.
                select.select((), (self,), ())
            left = left[written or 0 :]
        return whole.nbytes


def attach_streams() -> None:
    """Attach the three standard streams. Call this before anything else.

    A missing stream becomes the null device, with its descriptor, so that no later file takes its place. Output streams
    are guarded and escape characters that their encoding does not have.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # lives as long as the process
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def _guarded(given: TextIO | None, descriptor: int) -> io.TextIOWrapper:
    return text_over(GuardedWriter(descriptor), getattr(given, "encoding", None) or "utf-8")


def text_over(writer: GuardedWriter, encoding: str) -> io.TextIOWrapper:
    """Return an unbuffered text stream that escapes characters that its encoding does not have."""
    # As in `python -u`: the wrapper only needs `write` and `flush` of the raw stream.
    binary = cast("io.BufferedWriter", writer)
    return io.TextIOWrapper(binary, encoding=encoding, errors="backslashreplace", write_through=True)


def output_lost() -> OSError | None:
    """Return why stdout stopped accepting output; None if it accepted everything."""
    sys.stdout.flush()
    writer = getattr(sys.stdout, "buffer", None)
    return writer.lost if isinstance(writer, GuardedWriter) else None


def reader_has_left() -> bool:
    """Return whether stdout is a closed pipe, so that a command that only prints may stop."""
    lost = output_lost()
    return lost is not None and lost.errno == errno.EPIPE
