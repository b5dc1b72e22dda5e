"""Every header, path, query, form and host parser at the edge, with the worst text that its limit lets through.

The CPU time of one thread is measured, so a busy machine changes nothing. A parser has to cost no more than it may on
the event loop, and a text of twice the length no more than in proportion.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from interlock.api.bodies import check_json, read_headers, read_query
from interlock.api.connection import MAX_HEAD_BYTES, MAX_HEADER_FIELDS
from interlock.api.routing import Router
from interlock.auth import credentials, encoding, form, tenants, token_endpoint
from interlock.auth.bearer import digest_of
from interlock.auth.form import MAX_BODY, BadForm, read_form
from interlock.auth.tenants import normalise
from interlock.contract.ids import parse_id
from interlock.contract.times import Duration, Timestamp
from interlock.errors import InterlockError
from interlock.net.egress import EgressPolicy
from interlock.operations.preferences import MAX_PREFER_CHARACTERS, Preferences, read_preferences
from tests.loops import METER

MAX_SLICE_CPU_SECONDS = 0.02
"""CPU that one parser may take for a text at its limit: less than half of what a stop may take in all."""
MAX_GROWTH = 3.0
"""How much more a text of twice the length may take; 2 is linear, 4 quadratic."""
TOO_SHORT_TO_COMPARE = 0.0005
HEAD = MAX_HEAD_BYTES


def tried(work: Callable[[], Any]) -> Callable[[], None]:
    """The work, whatever it refuses."""

    def trying() -> None:
        with suppress(InterlockError, BadForm, ValueError):
            work()

    return trying


def cpu(work: Callable[[], Any]) -> float:
    """The least CPU time of several tries, in seconds."""
    return METER.least(tried(work), 0.0, tries=5)


def is_linear(few: Callable[[], Any], many: Callable[[], Any]) -> bool:
    """Whether twice the work takes about twice the CPU time, in one of several comparisons: noise only adds."""
    return any(cpu(many) < MAX_GROWTH * cpu(few) + TOO_SHORT_TO_COMPARE for _ in range(5))


def router() -> Router[int]:
    made: Router[int] = Router()
    made.add("GET", "/api/v1/automations/{id}", 1)
    made.add("GET", "/api/v1/callback/{execution}/{token}", 2)
    return made


FORM = {"content-type": "application/x-www-form-urlencoded"}
ROUTER = router()

PARSERS: dict[str, tuple[Callable[[str], Any], int, list[tuple[str, str, str]]]] = {
    "Prefer": (
        read_preferences,
        MAX_PREFER_CHARACTERS,
        [
            ("a=", " ", '"""'),
            ("a=", '"', ""),
            ("", ",", ""),
            ("", ";", ""),
            ("a", " ", "="),
            ('a="', "\\", ""),
            ("", "a=;", "\x00"),
            ("wait=", "9", ""),
        ],
    ),
    "Host": (normalise, HEAD, [("", "a.", ""), ("", "é", ""), ("[", ":", "]"), ("", "-", ""), ("a:", "0", "")]),
    "Content-Type": (
        lambda text: check_json({b"content-type": text.encode("latin-1")}),
        HEAD,
        [("application/json", ";", ""), ("application/json;charset=", '"', "x"), ("", " ", "x"), ("", "; charset", "")],
    ),
    "form Content-Type": (
        lambda text: read_form({"content-type": text}, "", b""),
        HEAD,
        [
            ("application/x-www-form-urlencoded", ";", ""),
            ("", " ", "x"),
            ("application/x-www-form-urlencoded;", "=", ""),
        ],
    ),
    "form": (
        lambda text: read_form(FORM, "", text.encode()),
        MAX_BODY,
        [
            ("", "&", ""),
            ("", "%41", ""),
            ("", "%", ""),
            ("a=", "+", ""),
            ("", "a=b&", ""),
            ("client_assertion=", "é", ""),
        ],
    ),
    "form query": (lambda text: read_form(FORM, text, b""), HEAD, [("", "&", ""), ("", "%41", ""), ("", "=", "")]),
    "query": (
        lambda text: read_query(text.encode(), ("page_size", "page_token")),
        HEAD,
        [
            ("", "&", ""),
            ("page_token=", "%41", ""),
            ("page_token=", "%ff", ""),
            ("", "+", ""),
            ("page_token=", "=", ""),
        ],
    ),
    "path": (
        lambda text: ROUTER.match("GET", text),
        HEAD,
        [("", "/", ""), ("/api/v1/automations/", "%41", ""), ("/api/v1/automations/", "%", ""), ("/api", "/v1", "")],
    ),
    "id": (parse_id, HEAD, [("1", "0", "x"), ("", "9", ""), ("-", "1", "")]),
    "client id": (
        token_endpoint._CLIENT_ID.fullmatch,
        MAX_BODY,
        [("", "a", "\x00"), ("", "a@", ""), ("", "\x7f", "")],
    ),
    "new client id": (credentials._CLIENT_ID.fullmatch, HEAD, [("a@", "a", "/x"), ("", "a.", "@"), ("a", ":", "/pcc")]),
    "client name": (credentials._NAME.fullmatch, HEAD, [("", "a", "A"), ("", "-", "")]),
    "secret": (credentials.public_key_of, MAX_BODY, [(credentials.SECRET_PREFIX, "A", ""), ("", "s", "")]),
    "base64url": (encoding.from_base64url, MAX_BODY, [("", "A", "="), ("", "-_", ""), ("", "A", "\n")]),
    "escapes": (lambda text: form._BAD_ESCAPE.search(text.encode()), MAX_BODY, [("", "%41", "%"), ("", "%", "")]),
    "host label": (
        tenants._LABEL.fullmatch,
        tenants.MAX_HOST_CHARACTERS,
        [("", "a", "-"), ("-", "a", ""), ("", "-", "")],
    ),
    "host port": (tenants._PORT.fullmatch, tenants.MAX_HOST_CHARACTERS, [("", "0", "x")]),
    "bearer": (digest_of, HEAD, [("interlock_at_", "A", "")]),
    "duration": (Duration, HEAD, [("", "1.", "x"), ("-", "1h", ""), ("", "1m", "s"), ("", "9", ""), ("", ".1s", "x")]),
    "timestamp": (Timestamp, HEAD, [("2026-01-01T00:00:00.", "0", "Z"), ("", "2", ""), ("2026-01-01", "T", "")]),
    "URL": (
        EgressPolicy.parse([]).check_url,
        HEAD,
        [
            ("https://", "1.", ""),
            ("https://[", ":", "]"),
            ("https://a/", "%41", "%"),
            ("https://", "a-", "/"),
            ("", "a", ""),
        ],
    ),
}
CASES = [
    pytest.param(parse, limit, *shape, id=f"{name}: {shape!r}")
    for name, (parse, limit, shapes) in PARSERS.items()
    for shape in shapes
]


def text_of(prefix: str, repeated: str, suffix: str, length: int) -> str:
    count = max(1, (length - len(prefix) - len(suffix)) // len(repeated))
    return prefix + repeated * count + suffix


@pytest.mark.parametrize(("parse", "limit", "prefix", "repeated", "suffix"), CASES)
def test_a_parser_at_the_edge_is_linear_and_small(
    parse: Callable[[str], Any], limit: int, prefix: str, repeated: str, suffix: str
) -> None:
    half, whole = (text_of(prefix, repeated, suffix, length) for length in (limit // 2, limit))
    assert METER.least(tried(lambda: parse(whole)), MAX_SLICE_CPU_SECONDS) < MAX_SLICE_CPU_SECONDS
    assert is_linear(lambda: parse(half), lambda: parse(whole))


@pytest.mark.parametrize("names", ["one name", "many names"])
def test_many_header_fields_are_gathered_in_linear_time(names: str) -> None:
    def fields(count: int) -> list[tuple[bytes, bytes]]:
        return [(b"x" if names == "one name" else b"x%d" % number, b"v") for number in range(count)]

    few, many = fields(8_000), fields(16_000)
    assert is_linear(lambda: read_headers(few), lambda: read_headers(many))
    most = fields(MAX_HEADER_FIELDS)
    assert METER.least(lambda: read_headers(most), MAX_SLICE_CPU_SECONDS) < MAX_SLICE_CPU_SECONDS


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("a=" + " " * 1_000 + '"""', Preferences()),
        ('return="representation', Preferences()),
        ('a="x, wait=9", wait=3', Preferences(False, 3)),
        ('a="\\", wait=9", wait=3', Preferences(False, 3)),
        ('wait="7";x="a,b", return = representation', Preferences(True, 7)),
        ("wait=-1", Preferences()),
        ("wait=٣", Preferences()),
        ("wait=1 2", Preferences()),
        ("wait", Preferences()),
        ("wait=3" + " " * MAX_PREFER_CHARACTERS, Preferences()),
    ],
)
def test_preferences_in_odd_spellings(header: str, expected: Preferences) -> None:
    assert read_preferences(header) == expected
