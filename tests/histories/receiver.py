"""The receiver of the runs: it holds every request until the test answers it."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Condition, Thread
from time import perf_counter_ns
from types import TracebackType
from typing import Final, Self

from tests.histories.model import Kind, Operation
from tests.histories.wire import PATIENCE, Address
from tests.histories.wire import field as header

ANSWERS: Final = {
    200: b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}',
    202: b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    410: b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
}


@dataclass(slots=True)
class Asked:
    """The request of one run, and its answer."""

    line: socket.socket
    callback: str
    """The path of the callback URL."""
    since: int = field(default_factory=perf_counter_ns)
    status: int = 0
    """With what it was answered; a request that comes again, after a crash, gets the same."""
    answers: list[Operation] = field(default_factory=list)
    unheard: int = 0
    """Answers that could not be sent: the connection was closed already."""

    def answer(self, status: int) -> None:
        """Send the answer, now. What it does happens later, or never."""
        self.status = status
        called = perf_counter_ns()
        try:
            self.line.sendall(ANSWERS[status])
        except OSError:
            self.unheard += 1
        else:
            self.answers.append(Operation(Kind.ANSWER, called, argument=status))


class Receiver:
    """Listens on 127.0.0.1, in a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address: Address = self._listener.getsockname()
        self._asked: dict[int, Asked] = {}
        self._arrived = Condition()
        self._ends, self._end = socket.socketpair()
        self._thread = Thread(target=self._serve, name="receiver")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()
        self._thread.join()
        self._listener.close()

    def asked(self, run: int) -> Asked:
        """What the run asks; waits until it does."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: run in self._asked, PATIENCE), f"run {run} made no call"
            return self._asked[run]

    def forget(self, runs: Iterable[int]) -> None:
        """These runs are over."""
        with self._arrived:
            for run in runs:
                del self._asked[run]

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ, None)
            selector.register(self._ends, selectors.EVENT_READ, None)
            pending: dict[socket.socket, bytes] = {}
            while True:
                for key, _ in selector.select():
                    line = key.fileobj
                    assert isinstance(line, socket.socket)
                    if line is self._ends:
                        for open_line in (*pending, self._ends):
                            open_line.close()
                        return
                    if line is self._listener:
                        line, _ = self._listener.accept()
                        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        selector.register(line, selectors.EVENT_READ, None)
                        pending[line] = b""
                    elif data := _received(line):
                        pending[line] = self._take(line, pending[line] + data)
                    else:
                        selector.unregister(line)
                        del pending[line]
                        line.close()

    def _take(self, line: socket.socket, data: bytes) -> bytes:
        """Take the request if it is whole; returns what is left."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < (size := end + 4 + int(header(data[:end], b"content-length"))):
            return data
        head = data[:end]
        callback = header(head, b"webhook-callback-url").decode()
        run = int(callback.split("/")[-2])
        with self._arrived:
            known = self._asked.get(run)
            if known is None:
                self._asked[run] = Asked(line, callback[callback.index("/api/") :])
                self._arrived.notify_all()
            else:
                known.line = line
                if known.status:
                    known.answer(known.status)
        return data[size:]


def _received(line: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return line.recv(65_536)
    return b""
