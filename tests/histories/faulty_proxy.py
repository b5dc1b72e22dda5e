"""A proxy between the clients and a real server that falsifies some answers."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Callable
from threading import Thread
from types import TracebackType
from typing import Any, Self

from tests.histories.wire import Address, field, read

Forward = Callable[[], bytes]
"""Forward the request to the real server, and return its whole answer."""
Fault = Callable[[bytes, Forward], bytes]
"""Takes a request and a function that forwards it; returns the answer to the client."""

ORDER = b"/actions/terminate "
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"


class Sometimes:
    """True so often, drawn from a seed; over all threads."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._chance = random.Random(6)

    def __call__(self) -> bool:
        return self._chance.random() < self._share


class FaultyProxy:
    """Listens on 127.0.0.1, with a thread and a line to the real server for each line that is made to it."""

    def __init__(self, server: Address, fault: Fault) -> None:
        self._server, self._lie = server, fault
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address: Address = self._listener.getsockname()
        self._threads = [Thread(target=self._listen, name="faulty proxy")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                thread = Thread(target=self._serve, args=(line,), name="faulty proxy")
                self._threads.append(thread)
                thread.start()

    def _serve(self, line: socket.socket) -> None:
        with line, socket.create_connection(self._server) as upstream, contextlib.suppress(OSError):
            while True:
                head, body = read(line)

                request = b"\r\n\r\n".join((head, body))

                def forward(request: bytes = request) -> bytes:
                    upstream.sendall(request)
                    return b"\r\n\r\n".join(read(upstream))

                line.sendall(self._lie(request, forward))


def path_of(request: bytes) -> bytes:
    return request.split(b" ", 2)[1]


def edited(answer: bytes, edit: Callable[[Any], None]) -> bytes:
    """The answer with another body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    edit(document)
    body = json.dumps(document).encode()
    length = b"content-length: %d"
    return head.replace(length % int(field(head, b"content-length")), length % len(body)) + b"\r\n\r\n" + body


# --- faults, by the property that they break --------------------------------------------------------------------------


def honest() -> Fault:
    return lambda request, forward: forward()


def loses_orders() -> Fault:
    """S1: an order is answered and forgotten."""
    now = Sometimes(0.3)

    def fault(request: bytes, forward: Forward) -> bytes:
        if ORDER in request and now():
            return OK + b"interlock-termination: accepted; state=TERMINATE\r\n\r\n{}"
        return forward()

    return fault


def flips() -> Fault:
    """S4: a run that was stopped is shown as one that came to its own end."""
    now = Sometimes(0.2)

    def done(shown: Any) -> None:
        shown["automationExecution"]["state"] = "AUTOMATION_EXECUTION_STATE_DONE"

    def fault(request: bytes, forward: Forward) -> bytes:
        answer = forward()
        is_stopped = request.startswith(b"GET /api") and b"_STATE_TERMINATE" in answer
        return edited(answer, done) if is_stopped and now() else answer

    return fault


def overwrites() -> Fault:
    """S5: an order that came after the end is said to have been accepted."""

    def fault(request: bytes, forward: Forward) -> bytes:
        return forward().replace(b": already-finished; state=DONE", b": accepted; state=TERMINATE")

    return fault


def accepts_twice() -> Fault:
    """S6: two orders are both said to be the one that counts."""
    return lambda request, forward: forward().replace(b": repeated;", b": accepted;")


def names_the_last() -> Fault:
    """S6: the record names the order that came last."""
    reasons: dict[bytes, str] = {}

    def fault(request: bytes, forward: Forward) -> bytes:
        parts = path_of(request).split(b"/")
        if ORDER in request:
            reasons[parts[4]] = json.loads(request.partition(b"\r\n\r\n")[2])["reason"]
        answer = forward()
        if request.startswith(b"GET /interlock") and b'"termination":{' in answer:
            return edited(answer, lambda shown: shown["termination"].update(reason=reasons[parts[4]]))
        return answer

    return fault


def looks_back() -> Fault:
    """S14: a look at a run shows what the first one saw, now and then."""
    now = Sometimes(0.25)
    first: dict[bytes, bytes] = {}

    def fault(request: bytes, forward: Forward) -> bytes:
        if not request.startswith(b"GET "):
            return forward()
        path = path_of(request)
        if path in first and now():
            return first[path]
        answer = forward()
        first.setdefault(path, answer)
        return answer

    return fault
