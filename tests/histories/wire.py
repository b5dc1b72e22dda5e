"""The plainest HTTP/1.1 client there is: one blocking keep-alive connection, bytes out and bytes in, two times noted.

It decodes nothing while it is raced; what the answers say is read afterwards.
"""

from __future__ import annotations

import contextlib
import socket
from time import perf_counter_ns
from types import TracebackType
from typing import NamedTuple, Self

PATIENCE = 30.0
"""Seconds until a connection that says nothing is given up, so that a broken test fails instead of hanging."""

Address = tuple[str, int]


class Exchange(NamedTuple):
    """A request and what came of it, in nanoseconds. Status 0: no answer; what was asked for may have happened."""

    called: int
    returned: int
    status: int = 0
    head: bytes = b""
    body: bytes = b""


class NotSent(Exception):
    """No connection could be made, so nothing has happened."""


class Connection:
    """One client's line to the server, made anew when it was lost."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def connect(self) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, PATIENCE)
            except OSError as error:
                raise NotSent from error
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def ask(self, request: bytes) -> Exchange:
        """Send it and read the answer.

        Raises:
            NotSent: no server listens.
        """
        line = self.connect()
        called = perf_counter_ns()
        try:
            line.sendall(request)
            head, body = read(line)
        except OSError:
            self.close()
            return Exchange(called, perf_counter_ns())
        return Exchange(called, perf_counter_ns(), int(head[9:12]), head, body)

    def lose(self, request: bytes) -> Exchange:
        """Send the request and close the connection: the server may have it, and its answer is lost."""
        line = self.connect()
        called = perf_counter_ns()
        with contextlib.suppress(OSError):
            line.sendall(request)
        self.close()
        return Exchange(called, perf_counter_ns())


def read(line: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body of the next message on the line, framed by Content-Length.

    Raises:
        ConnectionError: the peer hung up.
    """
    data = line.recv(65_536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(line)
    head = data[:end]
    length = int(field(head, b"content-length") or 0)
    while len(data) < end + 4 + length:
        data += _more(line)
    return head, data[end + 4 :]


def _more(line: socket.socket) -> bytes:
    piece = line.recv(65_536)
    if not piece:
        raise ConnectionResetError
    return piece


def field(head: bytes, name: bytes) -> bytes:
    """A header's value; empty if it is not there. `name` is in lower case."""
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    begin = at + len(name) + 3
    end = head.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else len(head)].strip()


def request(method: str, path: str, address: Address, token: str = "", body: bytes | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
