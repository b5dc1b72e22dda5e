"""The reading side of the HTTP client: one answer out of raw bytes, without I/O.

Bytes are counted before they are parsed, and every limit is a constant here or a number in the request, so that a
receiver decides neither how much memory an answer takes nor how long one call of `feed` runs: each is linear in the
bytes that it is given.

An answer is complete when its final status and its framed body (RFC 9112 section 6.3) have been read. What follows the
body (trailers, the next answer, noise) is dropped, and such a connection is not used again. A head that is not quite
HTTP is read again with tolerance: the strict parser only decides whether the connection may be kept.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from interlock.net.answer_heads import STATUS_LINE, end_of_head, joined_fields, list_members, tolerant_head
from interlock.net.codings import DECODED, DecodedTooLarge, Undecodable, decoded
from interlock.ports import HttpFailureKind

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of an answer's head, interim responses (1xx) included."""
MAX_INTERIM_RESPONSES: Final = 64
"""Interim responses (1xx) before the final one."""
MAX_FRAMING_BYTES: Final = 256 * 1024
"""Bytes of chunk sizes, chunk extensions and line ends around the chunks of one body."""
MAX_CHUNK_LINE_BYTES: Final = 4 * 1024
"""Bytes of one chunk's size with its extensions."""
CODING_SLACK_BYTES: Final = 4 * 1024
"""Bytes that a compressed body may be larger than the decompressed one."""

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_CODINGS = re.compile(r"[!-~ ]{1,100}", re.ASCII)
UNNAMED_CODING: Final = "unknown"
"""Stands for a content coding whose name is none."""
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_MAX_LENGTH_DIGITS: Final = 18
# What is read next.
_HEAD: Final = 0
_LENGTH: Final = 1
_UNTIL_END: Final = 2
_CHUNKS: Final = 3
_DONE: Final = 4
_BEGIN: Final = b"HTTP/"
_NO_CONTENT: Final = frozenset({204, 304})
_OK: Final = 200
_SWITCHING: Final = 101


class AnswerFailed(Exception):
    """The answer breaks HTTP or a limit. What was read of it, its status above all, stays with the reader."""

    def __init__(self, kind: HttpFailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class AnswerReader:
    """Reads the answer to one request. `limit` is the bytes of its body, before and after decompression."""

    __slots__ = (
        "_body",
        "_fields",
        "_framing",
        "_head_bytes",
        "_in_chunk",
        "_interim",
        "_method",
        "_need",
        "_part",
        "_pending",
        "_searched",
        "body",
        "coding",
        "headers",
        "is_reusable",
        "limit",
        "status",
    )

    def __init__(self, method: str, limit: int) -> None:
        self.status: int | None = None
        """Set once a final status line was read."""
        self.headers: dict[str, str] = {}
        """By lower-case name; repeated ones are joined (RFC 9110 section 5.3)."""
        self.body = b""
        self.coding = ""
        """The content coding that is still on the body, because it could not be undone."""
        self.is_reusable = True
        """Once complete: whether another request may follow on the same connection."""
        self._method = method
        self.limit = limit
        self._part = _HEAD
        self._pending = bytearray()
        self._searched = 0
        self._head_bytes = 0
        self._interim = 0
        self._need = 0
        self._in_chunk = False
        self._framing = 0
        self._body = bytearray()
        self._fields: list[tuple[bytes, bytes]] = []

    @property
    def is_head_read(self) -> bool:
        return self._part != _HEAD

    @property
    def is_complete(self) -> bool:
        return self._part == _DONE

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, up to some 16 KiB at once; True once the answer is complete.

        Raises:
            AnswerFailed: as described there.
        """
        part = self._part
        if part == _HEAD:
            return self._head(data)
        if part == _LENGTH:
            return self._length(data)
        if part == _UNTIL_END:
            self._until_end(data)
            return False
        if part == _CHUNKS:
            return self._chunks(data)
        self.is_reusable = False
        return True

    def end(self) -> bool:
        """The connection has ended in order; True if that completes the answer.

        Raises:
            AnswerFailed: as described there.
        """
        self.is_reusable = False
        if self._part == _UNTIL_END:
            self._finish(bytes(self._body))
        return self._part == _DONE

    # --- the head -------------------------------------------------------------------------------------------------

    def _head(self, data: bytes) -> bool:
        pending = self._pending
        if pending:
            pending += data
            if not end_of_head(pending, self._searched):
                self._await_more_of_head()
                return False
            data = bytes(pending)
            pending.clear()
        while True:
            text = data.lstrip(b"\r\n")  # empty lines before a head
            self._head_bytes += len(data) - len(text)
            end = end_of_head(text, 0)
            if not end:
                pending += text
                self._await_more_of_head()
                return False
            self._head_bytes += end
            if self._head_bytes > MAX_HEAD_BYTES:
                raise self._head_too_large(text)
            data = text[end:]
            if self._one_head(text[:end]):
                return self._first_of_body(data)

    def _await_more_of_head(self) -> None:
        pending = self._pending
        if self._head_bytes + len(pending) > MAX_HEAD_BYTES:
            raise self._head_too_large(bytes(pending))
        start = bytes(pending[: len(_BEGIN)]).upper()
        if start != _BEGIN[: len(start)]:
            raise _not_http()
        self._searched = max(0, len(pending) - 3)

    def _one_head(self, head: bytes) -> bool:
        """Read one head; True if it is that of the final answer."""
        self._fields.clear()
        parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(head)
            status, is_strict = parser.get_status_code(), True
        except httptools.HttpParserUpgrade:
            raise _switches() from None
        except httptools.HttpParserError:
            status, is_strict = tolerant_head(head, self._fields), False
        if not 100 <= status <= 999:
            raise _not_http()
        if status < _OK:
            if status == _SWITCHING:
                raise _switches()
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise AnswerFailed(
                    HttpFailureKind.PROTOCOL,
                    f"the receiver sent more than {MAX_INTERIM_RESPONSES} interim responses (1xx) and no final one",
                )
            return False
        self.status = status
        self.headers = joined_fields(self._fields)
        self._fields.clear()
        connection = self.headers.get("connection", "").lower()
        is_current = head.startswith(b"HTTP/1.1")
        self.is_reusable = is_strict and ("close" not in connection if is_current else "keep-alive" in connection)
        return True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._fields.append((name, value))

    def _head_too_large(self, text: bytes) -> AnswerFailed:
        line = STATUS_LINE.match(text)
        if line is None:
            return _not_http()
        if int(line[3]) >= _OK:
            self.status = int(line[3])
        return AnswerFailed(HttpFailureKind.TOO_LARGE, f"the answer's head is larger than {MAX_HEAD_BYTES:,} bytes")

    # --- the body -------------------------------------------------------------------------------------------------

    def _first_of_body(self, data: bytes) -> bool:
        headers = self.headers
        length = headers.get("content-length")
        applied = list_members(headers["transfer-encoding"]) if "transfer-encoding" in headers else []
        codings = list_members(headers["content-encoding"]) if "content-encoding" in headers else []
        if self._method == "HEAD" or self.status in _NO_CONTENT:
            if data:
                self.is_reusable = False
            self._finish(b"")
            return True
        if applied:
            if length is not None:
                raise _contradicts("it has both a Content-Length and a Transfer-Encoding")
            if applied[-1] == "chunked":
                self._part = _CHUNKS
                codings += applied[:-1]
            else:
                self._part = _UNTIL_END
                codings += applied
        elif length is not None:
            if "," in length:  # given more than once
                lengths = set(list_members(length))
                length = lengths.pop() if len(lengths) == 1 else length
            if not _DIGITS.fullmatch(length):
                raise _contradicts("its Content-Length is not one whole number")
            self._part = _LENGTH
            self._need = int(length) if len(length) <= _MAX_LENGTH_DIGITS else 10**_MAX_LENGTH_DIGITS
        else:
            self._part = _UNTIL_END
        if codings:
            self.coding = ", ".join(codings)
            if not _CODINGS.fullmatch(self.coding):
                self.coding = UNNAMED_CODING
            if self.coding in DECODED:
                self.limit += CODING_SLACK_BYTES
        if self._part == _LENGTH:
            if self._need > self.limit:
                raise self._too_large()
            if len(data) >= self._need:  # the usual answer: all of it at once, and nothing is copied
                if len(data) > self._need:
                    self.is_reusable = False
                self._finish(data[: self._need])
                return True
        return self.feed(data) if data else False

    def _length(self, data: bytes) -> bool:
        need = self._need - len(self._body)
        if len(data) < need:
            self._body += data
            return False
        if len(data) > need:
            self.is_reusable = False
        self._body += data[:need]
        self._finish(bytes(self._body))
        return True

    def _until_end(self, data: bytes) -> None:
        if len(self._body) + len(data) > self.limit:
            raise self._too_large()
        self._body += data

    def _chunks(self, data: bytes) -> bool:
        pending, body = self._pending, self._body
        if pending:
            pending += data
            data = bytes(pending)
            pending.clear()
        at, size = 0, len(data)
        while True:
            if self._need:
                piece = data[at : at + self._need]
                body += piece
                at += len(piece)
                self._need -= len(piece)
            if at == size:
                return False
            if self._in_chunk:  # its data is complete, the end of the line after it is not read
                if data.startswith(b"\r\n", at):
                    at += 2
                elif data.startswith(b"\n", at):
                    at += 1
                elif data[at:] == b"\r":
                    pending += b"\r"
                    return False
                else:
                    raise _bad_chunk()
                self._in_chunk = False
            line = data.find(b"\n", at, at + MAX_CHUNK_LINE_BYTES)
            if line < 0:
                if size - at >= MAX_CHUNK_LINE_BYTES:
                    raise AnswerFailed(
                        HttpFailureKind.PROTOCOL, f"a chunk's head is larger than {MAX_CHUNK_LINE_BYTES:,} bytes"
                    )
                pending += data[at:]
                return False
            text = data[at:line]
            self._framing += len(text) + 3
            if self._framing > MAX_FRAMING_BYTES:
                raise AnswerFailed(
                    HttpFailureKind.TOO_LARGE, f"the chunks' heads are larger than {MAX_FRAMING_BYTES:,} bytes"
                )
            at = line + 1
            if not _CHUNK_SIZE.fullmatch(text := text.partition(b";")[0].strip(b" \t\r")):
                raise _bad_chunk()
            self._need = int(text, 16)
            if not self._need:
                if data[at:] != b"\r\n":  # trailers, or not even the empty line: not waited for
                    self.is_reusable = False
                self._finish(bytes(body))
                return True
            if len(body) + self._need > self.limit:
                raise self._too_large()
            self._in_chunk = True

    def _finish(self, body: bytes) -> None:
        self._part = _DONE
        self._body = bytearray()
        if self.coding in DECODED and body:
            limit = self.limit - CODING_SLACK_BYTES
            try:
                body, self.coding = decoded(self.coding, body, limit), ""
            except DecodedTooLarge:
                raise self._too_large() from None
            except Undecodable:
                pass  # kept as it came, and `coding` says so
        elif not body:
            self.coding = ""
        self.body = body

    def _too_large(self) -> AnswerFailed:
        limit = self.limit - (CODING_SLACK_BYTES if self.coding in DECODED else 0)
        return AnswerFailed(HttpFailureKind.TOO_LARGE, f"the answer is larger than {limit:,} bytes")


def _not_http() -> AnswerFailed:
    return AnswerFailed(HttpFailureKind.PROTOCOL, "the answer is not valid HTTP")


def _switches() -> AnswerFailed:
    return AnswerFailed(HttpFailureKind.PROTOCOL, "the answer is not valid HTTP: it switches protocols unasked")


def _contradicts(why: str) -> AnswerFailed:
    return AnswerFailed(HttpFailureKind.PROTOCOL, f"where the answer's body ends cannot be told: {why}")


def _bad_chunk() -> AnswerFailed:
    return AnswerFailed(HttpFailureKind.PROTOCOL, "the answer's body is not valid HTTP: a chunk has no size")
