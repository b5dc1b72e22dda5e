"""Content codings of an answer's body: gzip and deflate, bounded in output, members and time."""

from __future__ import annotations

import zlib
from typing import Final

MAX_GZIP_MEMBERS: Final = 64
"""Members of one gzip body that are decompressed; each costs a decompressor of its own."""
DECODED: Final = frozenset({"gzip", "x-gzip", "deflate"})

_GZIP_MEMBER: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS


class DecodedTooLarge(Exception):
    """The body is larger than allowed, once decompressed."""


class Undecodable(Exception):
    """The body is not what its coding says."""


def decoded(coding: str, body: bytes, limit: int) -> bytes:
    """The decompressed body. Never makes more than `limit` bytes, plus one.

    Raises:
        DecodedTooLarge, Undecodable
    """
    try:
        return _inflated(body, limit, _GZIP if coding != "deflate" else zlib.MAX_WBITS)
    except zlib.error as wrong:
        if coding != "deflate":
            raise Undecodable from wrong
    try:
        return _inflated(body, limit, -zlib.MAX_WBITS)  # "deflate" without the zlib wrapper, as some servers send it
    except zlib.error as wrong:
        raise Undecodable from wrong


def _inflated(body: bytes, limit: int, window: int) -> bytes:
    pieces: list[bytes] = []
    size = members = 0
    while body:
        members += 1
        if members > MAX_GZIP_MEMBERS:
            raise Undecodable
        inflater = zlib.decompressobj(window)
        piece = inflater.decompress(body, limit - size + 1)
        size += len(piece)
        if size > limit:
            raise DecodedTooLarge
        pieces.append(piece)
        if not inflater.eof:
            raise Undecodable
        body = inflater.unused_data
        if window != _GZIP or not body.startswith(_GZIP_MEMBER):
            break  # padding or noise after the last member
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
