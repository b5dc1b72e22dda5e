"""Where remotes reach the server: what is taken for a URL, and what is refused with the reason and what to set."""

from __future__ import annotations

import pytest

from interlock.errors import InvalidArgument
from interlock.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "https://interlock.example",
        "http://10.0.0.7:8080",
        "https://interlock.example:8443/automation",
        "https://[2001:db8::1]:8443",
        "HTTPS://Interlock.Example",
        "http://my_host",
    ],
)
def test_url_of_a_server_is_taken(url: str) -> None:
    assert Settings(public_url=url).reached_at == url
    assert Settings(public_url=f"{url}/").reached_at == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense here", "has a blank"),
        ("nonsense", "scheme must be http or https"),
        ("interlock.example:8080", "scheme must be http or https"),
        ("ftp://interlock.example", "scheme must be http or https"),
        ("javascript:alert(1)", "scheme must be http or https"),
        ("https://", "host is missing"),
        ("https:///x", "host is missing"),
        ("https://:8080", "host is missing"),
        ("https://a@interlock.example", "user name or password"),
        ("https://a:b@interlock.example", "user name or password"),
        ("https://interlock.example?x=1", "query or a fragment"),
        ("https://interlock.example?", "query or a fragment"),
        ("https://interlock.example/#x", "query or a fragment"),
        ("https://interlock.example:port", "host or port cannot be read"),
        ("https://interlock.example:99999", "host or port cannot be read"),
        ("https://interlock.example:0", "port is 0"),
        ("https://[::1", "host or port cannot be read"),
        ("https://a..b", "is not the name or address of a host"),
        ("https://-a.example", "is not the name or address of a host"),
        ("https://a%20b", "is not the name or address of a host"),
        ("https://*.example", "is not the name or address of a host"),
        ("https://0.0.0.0:8080", "leads a remote nowhere"),
        ("https://[::]", "leads a remote nowhere"),
        ("https://interlock.example\n", "has a blank or another character"),
        ("https://interlöck.example", "has a blank or another character"),
        (" https://interlock.example", "has a blank"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused_in_three_parts(url: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        _ = Settings(public_url=url).reached_at
    message = refused.value.message
    assert message.startswith(f"--public-url: {url!r} is not where a server is reached")
    assert why in message
    assert message.endswith("use one like https://interlock.example")
