"""The reading side of the client: any bytes, cut anywhere, and the same answer as a second client reads."""

from __future__ import annotations

import gzip
import http.client
import io
import socket
import tracemalloc
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.net.answers import (
    MAX_FRAMING_BYTES,
    MAX_HEAD_BYTES,
    MAX_INTERIM_RESPONSES,
    AnswerFailed,
    AnswerReader,
)

LIMIT = 250_000

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

WHOLE = [
    HEAD + b"Content-Length: 2\r\n\r\nok",
    HEAD + b"Content-Length: 2\r\nContent-Encoding: br\r\n\r\nok",
    HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"ok")) + gzip.compress(b"ok"),
    HEAD + b"Content-Encoding: deflate\r\nContent-Length: 10\r\n\r\n" + zlib.compress(b"ok"),
    b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
    b"\r\n\r\nHTTP/1.0 404\nContent-Length: 1\n\nx",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    CHUNKED + b'2;a="b"\r\nok\r\nA ; c\n0123456789\n00\r\nX: y\r\n\r\n',
    HEAD + b"\r\nuntil it ends",
]
BROKEN = [
    b"",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/9",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 099 Low\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    HEAD + b"Content-Length: +2\r\n\r\nok",
    HEAD + b"Content-Length: 2_0\r\n\r\nok",
    HEAD + b"Content-Length: 250001\r\n\r\n",
    HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Content-Length: 3\r\n\r\nok",
    HEAD + b"X: \x00\xff\r\n folded\r\n: none\r\nContent-Length : 2\r\n\r\nok",
    HEAD + b"X: " + b"y" * 300,
    CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    CHUNKED + b"2\r\nokk\r\n0\r\n\r\n",
    CHUNKED + b"ffffffffffffffff\r\n",
    CHUNKED + b"11111111111111111\r\n",
    CHUNKED + b"\r\n",
    CHUNKED + b"2\r\nok\r\n0\r\n\x00\x00\x00",
    b"HTTP/1.1 103 Hints\r\n\r\n" * 70,
]


@dataclass(frozen=True)
class Outcome:
    """What a reader made of it. `error` is the kind of failure; a cut answer is not complete."""

    status: int | None
    body: bytes
    coding: str
    is_complete: bool
    error: str = ""


def read(pieces: list[bytes], method: str = "POST", *, ends: bool = True) -> Outcome:
    reader = AnswerReader(method, LIMIT)
    error = ""
    try:
        for piece in pieces:
            if reader.feed(piece):
                break
        else:
            if ends:
                reader.end()
    except AnswerFailed as failed:
        error = str(failed.kind)
    return Outcome(reader.status, reader.body, reader.coding, reader.is_complete, error)


def bytewise(wire: bytes) -> list[bytes]:
    return [wire[at : at + 1] for at in range(len(wire))]


@pytest.mark.parametrize("wire", WHOLE + BROKEN)
def test_cut_at_every_byte_it_reads_the_same(wire: bytes) -> None:
    expected = read([wire])
    assert read(bytewise(wire)) == expected
    for at in range(1, len(wire)):
        assert read([wire[:at], wire[at:]]) == expected, at


@pytest.mark.parametrize("wire", WHOLE)
def test_a_whole_answer_is_complete_and_a_cut_one_is_not(wire: bytes) -> None:
    assert read([wire]).is_complete
    if not wire.endswith(b"ends"):
        assert read([wire], ends=False).is_complete
        shorter = wire.removesuffix(b"X: y\r\n\r\n").removesuffix(b"0\r\n\r\n") if b"chunked" in wire else wire
        assert not read([shorter[:-1]], ends=False).is_complete


@pytest.mark.parametrize("wire", BROKEN)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_a_broken_answer_is_an_outcome_and_not_an_error(wire: bytes, method: str) -> None:
    outcome = read([wire], method)
    assert outcome.error or outcome.is_complete or outcome.body == b""


FRAGMENTS = st.sampled_from(
    [
        *(
            HEAD,
            CHUNKED,
            b"HTTP/1.1 ",
            b"HTTP/1.0 ",
            b"200",
            b" OK",
            b"103",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\n\n",
            b": ",
        ),
        *(
            b"Content-Length",
            b"2",
            b"Transfer-Encoding",
            b"chunked",
            b"gzip",
            b"Content-Encoding",
            b"Connection: close",
        ),
        *(b"0\r\n", b"5\r\nhello\r\n", b";x", b"\x00", b"\xff", b" ", b"ffffffff", b"-1", b"\x1f\x8b"),
    ]
)
NOISE = st.lists(st.one_of(FRAGMENTS, st.binary(max_size=20)), max_size=30).map(b"".join)


@given(wire=NOISE, cuts=st.lists(st.integers(0, 600), max_size=5), method=st.sampled_from(["POST", "HEAD"]))
def test_any_bytes_cut_anywhere_end_in_the_same_outcome(wire: bytes, cuts: list[int], method: str) -> None:
    at = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in pairwise(at) if end > start]
    expected = read([wire] if wire else [], method)
    assert read(pieces, method) == expected
    assert read(bytewise(wire), method) == expected


# --- beside a second client ---------------------------------------------------------------------------------------

NAMES = st.from_regex(r"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,8}", fullmatch=True)
VALUES = st.from_regex(r"[\x21-\x7e\xa1-\xff]([\t\x20-\x7e\xa1-\xff]{0,20}[\x21-\x7e\xa1-\xff])?", fullmatch=True)


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """A method, a well-formed answer to it, and the body that it carries."""
    method = draw(st.sampled_from(["POST", "GET", "HEAD"]))
    status = draw(st.sampled_from([200, 201, 202, 204, 206, 304, 400, 410, 500, 599]))
    version = draw(st.sampled_from(["1.1", "1.0"]))
    reason = draw(st.sampled_from(["", " ", " OK", " Not Found at all"]))
    lines = [f"HTTP/{version} {status}{reason}"]
    lines += [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))]
    body = draw(st.one_of(st.binary(max_size=300), st.just(b"x" * 70_000)))
    framed = body
    may_chunk = version == "1.1" and status not in (204, 304)
    framing = draw(st.sampled_from(["length", "chunks", "end"] if may_chunk else ["length", "end"]))
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunks":
        lines.append("Transfer-Encoding: chunked")
        size = draw(st.integers(1, 50) if len(body) < 1000 else st.integers(1000, 70_000))
        extension = draw(st.sampled_from([b"", b";a=b", b"; a"]))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        framed = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
        framed += draw(st.sampled_from([b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nX-Trailer: 1\r\n\r\n"]))
    if method == "HEAD" or status in (204, 304):
        body = framed = b""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 2))
    return method, interim + "\r\n".join([*lines, "", ""]).encode("latin-1") + framed, body


class Heard:
    """What `http.client` takes for a socket."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._wire)


@given(answers())
@example(("POST", b"HTTP/1.1 200 \r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nok", b"ok"))
def test_a_well_formed_answer_is_read_as_a_second_client_reads_it(case: tuple[str, bytes, bytes]) -> None:
    method, wire, body = case
    other = http.client.HTTPResponse(cast(socket.socket, Heard(wire)), method=method)
    other.begin()
    reader = AnswerReader(method, LIMIT)
    if not reader.feed(wire):
        assert reader.end()
    assert (reader.status, reader.body) == (other.status, other.read())
    assert reader.body == body
    fields: dict[str, str] = {}
    for name, value in other.getheaders():
        fields[name.lower()] = f"{fields[name.lower()]}, {value}" if name.lower() in fields else value
    assert reader.headers == fields


# --- limits -------------------------------------------------------------------------------------------------------

SLICE = 16 * 1024


@pytest.mark.parametrize(
    ("begin", "piece", "bound"),
    [
        pytest.param(b"", b"HTTP/1.1 103 Hints\r\n\r\n", 24 * MAX_INTERIM_RESPONSES, id="interim responses"),
        pytest.param(b"", b"HTTP/1.1 103 Hints\r\nX: " + b"y" * 16_000 + b"\r\n\r\n", MAX_HEAD_BYTES, id="long ones"),
        pytest.param(b"", b"\r\n", MAX_HEAD_BYTES, id="empty lines"),
        pytest.param(HEAD, b"X: y\r\n", MAX_HEAD_BYTES, id="fields"),
        pytest.param(HEAD + b"X: ", b"y", MAX_HEAD_BYTES, id="a field"),
        pytest.param(HEAD[:-2], b"y", MAX_HEAD_BYTES, id="a reason"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", MAX_FRAMING_BYTES + LIMIT, id="tiny chunks"),
        pytest.param(CHUNKED, b"1;" + b"e" * 4000 + b"\r\nx\r\n", MAX_FRAMING_BYTES + LIMIT, id="chunk extensions"),
        pytest.param(CHUNKED, b"0", MAX_FRAMING_BYTES, id="a chunk's size"),
        pytest.param(CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n", MAX_FRAMING_BYTES + LIMIT, id="large chunks"),
        pytest.param(HEAD + b"\r\n", b"x", LIMIT, id="until the connection ends"),
        pytest.param(HEAD + b"Content-Encoding: gzip\r\n\r\n", b"\x1f\x8b\x08", LIMIT, id="coded until it ends"),
    ],
)
@pytest.mark.parametrize("size", [SLICE, 7])
def test_a_flood_is_cut_off_at_its_limit_in_little_memory(begin: bytes, piece: bytes, bound: int, size: int) -> None:
    flood = piece * (3 * SLICE // len(piece) + 1)
    reader = AnswerReader("POST", LIMIT)
    tracemalloc.start()
    try:
        taken = fed_until_refused(reader, begin, flood, size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= bound + len(begin) + SLICE
    assert peak < 4 * (LIMIT + MAX_HEAD_BYTES)


def fed_until_refused(reader: AnswerReader, begin: bytes, flood: bytes, size: int) -> int:
    """The bytes that the reader took before it refused more."""
    reader.feed(begin)
    taken = len(begin)
    while taken < 20 * LIMIT:
        for at in range(0, len(flood), size):
            piece = flood[at : at + size]
            taken += len(piece)
            try:
                reader.feed(piece)
            except AnswerFailed:
                return taken
    raise AssertionError("the flood is taken for ever")


@pytest.mark.parametrize(
    "wire",
    [
        HEAD + b"Content-Length: hunter2\r\n\r\n",
        HEAD + b"Content-Length: 2, hunter2\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: hunter2\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, hunter2, chunked\r\nContent-Length: hunter2\r\n\r\n",
        CHUNKED + b"hunter2\r\n",
        CHUNKED + b"2\r\nhunter2\r\n",
        b"HTTP/1.1 hunter2\r\n\r\n",
        b"hunter2\r\n\r\n",
        b"HTTP/1.1 101 hunter2\r\nUpgrade: hunter2\r\n\r\n",
        HEAD + b"X: hunter2" * 10_000,
    ],
)
def test_what_a_failure_says_repeats_nothing_of_the_answer(wire: bytes) -> None:
    # It is stored and shown as it is, and the answer may repeat a secret that was sent.
    reader = AnswerReader("POST", LIMIT)
    with pytest.raises(AnswerFailed) as failed:
        reader.feed(wire)
    assert "hunter2" not in str(failed.value)
