"""The output streams of a command: everything that is printed is written, and written once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from interlock.cli.streams import GuardedWriter, text_over

MORE_THAN_A_PIPE_HOLDS = "x" * 1_000_000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def read_to_the_end(descriptor: int) -> str:
    return b"".join(iter(lambda: os.read(descriptor, 65_536), b"")).decode()


class InterruptedBehind(GuardedWriter):
    """Ctrl-C falls between a write that was made and the news of it."""

    def write(self, data: Any, /) -> int:
        super().write(data)
        raise KeyboardInterrupt


def test_a_line_is_written_once_when_an_interrupt_falls_behind_it(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    text = text_over(InterruptedBehind(writing), "utf-8")
    with pytest.raises(KeyboardInterrupt):
        text.write("a line\n")
    text.flush()
    os.close(writing)
    assert read_to_the_end(reading) == "a line\n"


@pytest.mark.parametrize("blocking", [True, False])
def test_all_of_a_text_is_written_to_a_pipe_that_takes_it_in_pieces(pipe: tuple[int, int], blocking: bool) -> None:
    reading, writing = pipe
    os.set_blocking(writing, blocking)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(read_to_the_end(reading)))
    reader.start()
    text_over(GuardedWriter(writing), "utf-8").write(MORE_THAN_A_PIPE_HOLDS)
    os.close(writing)
    reader.join()
    assert read == [MORE_THAN_A_PIPE_HOLDS]


def test_what_follows_a_failed_write_is_dropped() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = GuardedWriter(full.fileno())
        text = text_over(writer, "ascii")
        assert text.write("ä\n") == 2
        assert text.write("more\n") == 5
        assert writer.lost is not None
