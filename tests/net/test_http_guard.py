"""The client dials only what the policy permits, whatever the URL and the name server say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from interlock.errors import InvalidArgument
from interlock.net.egress import EgressPolicy, Target
from interlock.net.http import GuardedHttp
from interlock.ports import Http, HttpFailed, HttpFailureKind, HttpRequest, Progress
from tests.net.clients import LOCAL, Names, get, local, post
from tests.receivers import Answer, Receiver

pytestmark = pytest.mark.anyio

LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f000001",
    "017700000001",
    "2130706433",
    "0",
    "0.0.0.0",
    "①②⑦.⓪.⓪.①",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "[fe80::1%25lo]",
    "user@127.0.0.1",
    "hooks.example@127.0.0.1",
    "127.0.0.1\\@hooks.example",
    "127.0.0.1%00.hooks.example",
    "127.0.0.1#.hooks.example",
    "127.0.0.1\t",
]


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("allow", [(), ("0.0.0.0/0:1", "hooks.example")], ids=["nothing allowed", "others allowed"])
async def test_no_spelling_of_this_machine_is_dialled(host: str, scheme: str, allow: Sequence[str]) -> None:
    async with Receiver() as receiver, GuardedHttp(EgressPolicy.parse(allow)) as http:
        with pytest.raises(HttpFailed) as failed:
            await http.send(get(f"{scheme}://{host}:{receiver.port}/"), Progress())
        assert failed.value.kind is HttpFailureKind.BLOCKED
        assert receiver.connections == []


async def test_an_address_in_the_url_is_checked_again_where_it_is_dialled() -> None:
    class Lax(EgressPolicy):
        """Reads URLs by another allow-list than it dials by."""

        def check_url(self, url: str, field: str = "url") -> Target:
            return LOCAL.check_url(url, field)

    async with Receiver() as receiver, GuardedHttp(Lax()) as http:
        with pytest.raises(HttpFailed) as failed:
            await http.send(get(receiver.url()), Progress())
        assert failed.value.kind is HttpFailureKind.BLOCKED
        assert receiver.connections == []


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["2606:4700::1111", "::1"],
        ["1.1.1.1", "169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
    ],
)
async def test_every_address_of_a_name_must_pass(answer: Sequence[str]) -> None:
    names = Names(hooks_example=[answer])
    async with Receiver() as receiver, GuardedHttp(EgressPolicy.parse([]), resolver=names) as http:
        with pytest.raises(HttpFailed) as failed:
            await http.send(get("https://hooks.example/"), Progress())
        assert failed.value.kind is HttpFailureKind.BLOCKED
        assert receiver.connections == []
        assert names.asked == ["hooks.example"]


async def test_one_bad_address_spoils_a_name_whose_others_are_allowed() -> None:
    async with Receiver() as receiver:
        names = Names(hooks_example=[["127.0.0.1", "10.0.0.1"]])
        async with GuardedHttp(EgressPolicy.parse([f"127.0.0.1:{receiver.port}"]), resolver=names) as http:
            with pytest.raises(HttpFailed) as failed:
                await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
        assert failed.value.kind is HttpFailureKind.BLOCKED
        assert receiver.connections == []


async def test_the_address_that_was_checked_is_the_one_that_is_dialled() -> None:
    """Rebinding: the name server answers differently the second time. There is no second time."""
    async with Receiver() as receiver, Receiver() as victim:
        names = Names(hooks_example=[["127.0.0.1"], ["127.0.0.2"]])
        policy = EgressPolicy.parse([f"127.0.0.1:{receiver.port}"])
        async with GuardedHttp(policy, resolver=names) as http:
            await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
        assert names.asked == ["hooks.example"]
        assert len(receiver.requests) == 1
        assert victim.connections == []


async def test_a_name_that_turns_private_later_is_blocked_then() -> None:
    names = Names(hooks_example=[["127.0.0.1"], ["10.0.0.1"]])
    async with Receiver() as receiver:
        policy = EgressPolicy.parse([f"127.0.0.1:{receiver.port}"])
        for expected in (True, False):  # a client each, so that nothing is kept between
            async with GuardedHttp(policy, resolver=names) as http:
                if expected:
                    await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
                else:
                    with pytest.raises(HttpFailed) as failed:
                        await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
                    assert failed.value.kind is HttpFailureKind.BLOCKED


class Switched:
    """A resolver that answers as `then` says: addresses, an error, or (None) not at all."""

    def __init__(self) -> None:
        self.then: list[str] | None = ["127.0.0.1"]

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        if self.then is None:
            await asyncio.Event().wait()
            raise AssertionError
        if not self.then:
            raise OSError("no such name")
        return self.then


@pytest.mark.parametrize("then", [None, []], ids=["a name server that hangs", "one that fails"])
async def test_a_known_name_is_called_while_its_name_server_is_away(then: list[str] | None) -> None:
    names = Switched()
    async with Receiver() as receiver:
        policy = EgressPolicy.parse([f"127.0.0.1:{receiver.port}"])
        async with GuardedHttp(policy, resolver=names, address_seconds=0.0, lookup_patience=0.0) as http:
            await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
            names.then = then
            for _ in range(3):
                await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
            with pytest.raises(HttpFailed) as failed:  # of a name that was never found nothing is known
                await http.send(
                    replace(get(f"http://other.example:{receiver.port}/"), connect_timeout=0.05), Progress()
                )
            assert failed.value.kind is HttpFailureKind.RESOLVE
    assert len(receiver.requests) == 4


async def test_a_known_name_that_no_longer_passes_is_not_called() -> None:
    names = Switched()
    async with Receiver() as receiver:
        policy = EgressPolicy.parse([f"127.0.0.1:{receiver.port}"])
        async with GuardedHttp(policy, resolver=names, address_seconds=0.0, lookup_patience=10.0) as http:
            await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
            for names.then in (["127.0.0.1", "10.0.0.1"], [], None):
                with pytest.raises(HttpFailed) as failed:
                    await http.send(
                        replace(get(f"http://hooks.example:{receiver.port}/"), connect_timeout=0.05), Progress()
                    )
                expected = HttpFailureKind.BLOCKED if names.then else HttpFailureKind.RESOLVE
                assert failed.value.kind is expected
    assert len(receiver.requests) == 1


async def test_a_network_that_is_allowed_for_one_port_does_not_open_plain_http_elsewhere() -> None:
    async with Receiver() as receiver:
        policy = EgressPolicy.parse([f"10.0.0.0/8:{receiver.port}"])
        async with GuardedHttp(policy, resolver=Names(hooks_example=[["127.0.0.1"]])) as http:
            http.check_url(f"http://hooks.example:{receiver.port}/")  # may be in 10.0.0.0/8
            with pytest.raises(HttpFailed) as failed:
                await http.send(get(f"http://hooks.example:{receiver.port}/"), Progress())
            assert failed.value.kind is HttpFailureKind.BLOCKED
            assert receiver.connections == []


async def test_a_blocked_destination_tells_nothing_of_what_is_there() -> None:
    async with Receiver() as receiver:
        names = Names(open_example=[["127.0.0.1"]], shut_example=[["127.0.0.1"]])
        texts = set()
        async with GuardedHttp(EgressPolicy.parse(["10.0.0.0/8"]), resolver=names) as http:
            for url in (f"http://open.example:{receiver.port}/", "http://shut.example:1/"):
                with pytest.raises(HttpFailed) as failed:
                    await http.send(get(url), Progress())
                texts.add(failed.value.message)
        assert texts == {"the destination is not allowed"}


async def test_concurrent_requests_to_a_blocked_name_are_all_blocked() -> None:
    async with GuardedHttp(EgressPolicy.parse([]), resolver=Names(hooks_example=[["10.0.0.1"]])) as http:
        results = await asyncio.gather(
            *(http.send(get("https://hooks.example/"), Progress()) for _ in range(8)), return_exceptions=True
        )
    assert [result.kind for result in results if isinstance(result, HttpFailed)] == [HttpFailureKind.BLOCKED] * 8


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://169.254.169.254/", "file:///etc/passwd", "gopher://x/", "/again", "//x"])
async def test_a_redirect_is_an_answer_and_not_followed(status: int, location: str) -> None:
    async with Receiver(Answer(status, b"gone", {"Location": location})) as receiver, local() as http:
        response = await http.send(post(receiver.url()), Progress())
        assert (response.status, response.body) == (status, b"gone")
        assert response.headers["location"] == location
        assert len(receiver.requests) == 1


async def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiver() as receiver, Receiver() as proxy, local() as http:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        monkeypatch.delenv("no_proxy", raising=False)
        await http.send(get(receiver.url()), Progress())
        assert len(receiver.requests) == 1
        assert proxy.connections == []


async def test_cookies_are_not_kept() -> None:
    async with Receiver(Answer(headers={"Set-Cookie": "a=b; Path=/"})) as receiver, local() as http:
        for _ in range(2):
            await http.send(get(receiver.url()), Progress())
        assert "cookie" not in receiver.requests[1].headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "b\r\nX-Injected: 1"),
        ("X-A", "b\nc"),
        ("X-A", "\x00"),
        ("X-A", "☃"),
        ("X A", "b"),
        ("X-A:", "b"),
        ("", "b"),
        ("Host", "internal.example"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "upgrade"),
    ],
)
async def test_a_header_that_could_change_the_meaning_of_the_request_is_refused(name: str, value: str) -> None:
    async with Receiver() as receiver, local() as http:
        with pytest.raises(HttpFailed) as failed:
            await http.send(HttpRequest("GET", receiver.url(), {name: value}), Progress())
        assert failed.value.kind is HttpFailureKind.BLOCKED
        assert receiver.connections == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\nX:", ""])
async def test_only_ordinary_methods_are_sent(method: str) -> None:
    async with Receiver() as receiver, local() as http:
        with pytest.raises(HttpFailed):
            await http.send(HttpRequest(method, receiver.url(), {}), Progress())
        assert receiver.connections == []


async def test_a_url_is_refused_when_it_is_saved() -> None:
    async with local() as client:
        http: Http = client
        http.check_url("https://hooks.example/")
        with pytest.raises(InvalidArgument, match="user name"):
            http.check_url("https://a@hooks.example/")
