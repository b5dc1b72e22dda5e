"""Reading the allow-list, and the rules for a URL that hold before any name is looked up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import InvalidArgument
from interlock.net.egress import MAX_URL, EgressPolicy

EMPTY = EgressPolicy.parse([])


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " ",
        "a b",
        "https://hooks.example",
        "user@hooks.example",
        "*.corp.example",
        "hooks.corp.example.",
        ".corp.example",
        "hooks..example",
        "-hooks.example",
        "hooks.example:",
        "hooks.example:0",
        "hooks.example:65536",
        "hooks.example:80a",
        "hooks.example:080",
        "hooks.example/24",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "1.2.3.4.5",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/",
        "fd00::1/8",
        "[fd00::1",
        "[10.0.0.1",
        "fe80::1%lo",
        "::ffff:10.0.0.1",
        "0.0.0.0",
        "224.0.0.0/4",
        "ff02::1",
        "169.254.0.0/16",
        "fe80::/10",
        "①②⑦.⓪.⓪.①",
        "xn--a.example",
        "a" * 64 + ".example",
    ],
)
def test_a_bad_entry_is_refused(entry: str) -> None:
    with pytest.raises(InvalidArgument, match="--allow-egress") as refused:
        EgressPolicy.parse([entry])
    assert repr(entry) in refused.value.message


def test_all_bad_entries_are_named_at_once() -> None:
    with pytest.raises(InvalidArgument) as refused:
        EgressPolicy.parse(["10.0.0.1/8", "hooks.example", "*.example"])
    first, second = refused.value.problems
    assert "did you mean 10.0.0.0/8?" in first.description
    assert "wildcards" in second.description


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example",
        "https://hooks.example/",
        "HTTPS://Hooks.Example:443/a/b?c=d&e=%20f",
        "https://hooks.example/a;b=c/@x:y",
        "https://my_service/",
        "https://bücher.example/",
        "https://xn--bcher-kva.example/",
    ],
)
def test_an_ordinary_https_url_is_accepted(url: str) -> None:
    EMPTY.check_url(url)


def test_a_url_is_taken_apart_in_one_form() -> None:
    target = EMPTY.check_url("HTTPS://BÜCHER.Example?x=1")
    assert (target.scheme, target.host, target.port, target.path, target.query) == (
        "https",
        "xn--bcher-kva.example",
        443,
        "/",
        "x=1",
    )


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "absolute URL"),
        ("hooks.example", "absolute URL"),
        ("//hooks.example/", "absolute URL"),
        ("https:hooks.example", "absolute URL"),
        ("https:/hooks.example", "absolute URL"),
        ("https:///hooks.example", "host is missing"),
        ("file:///etc/passwd", "absolute URL"),
        ("gopher://hooks.example/", "absolute URL"),
        ("ftp://hooks.example/", "absolute URL"),
        ("http://hooks.example/", "use https"),
        ("https://hooks.example:8443/", "port 443"),
        ("https://hooks.example:80/", "port 443"),
        ("https://hooks.example:/", "from 1 to 65535"),
        ("https://hooks.example:0/", "from 1 to 65535"),
        ("https://hooks.example:99999/", "from 1 to 65535"),
        ("https://hooks.example:443:443/", "from 1 to 65535"),
        ("https://hooks.example:４43/", "from 1 to 65535"),
        ("https://a@hooks.example/", "user name"),
        ("https://a:b@hooks.example/", "user name"),
        ("https://hooks.example@127.0.0.1/", "user name"),
        ("https://@hooks.example/", "user name"),
        ("https://hooks.example\\@evil.example/", "backslash"),
        ("https://hooks.example\\.evil.example/", "backslash"),
        ("https://hooks.example/\tx", "control"),
        ("https://hooks\n.example/", "control"),
        ("https://hooks.example/\r\nHost: evil", "control"),
        (" https://hooks.example/", "control"),
        ("https://hooks.example/\x00", "control"),
        ("https://hooks.example/%00", "encoded control"),
        ("https://hooks.example/%0d%0aX: y".replace(" ", ""), "encoded control"),
        ("https://hooks.example/?a=%7F", "encoded control"),
        ("https://hooks.example/%zz", "percent-encoded"),
        ("https://hooks.example/ä", "percent-encoded"),
        ("https://hooks.example/#@evil.example", "fragment"),
        ("https://hooks.example#@evil.example/", "fragment"),
        ("https://hooks%2eexample/", "not a valid name"),
        ("https://hooks.example%00.evil.example/", "not a valid name"),
        ("https://hooks.example./", "end in a dot"),
        ("https://hooks..example/", "not a valid name"),
        ("https://-hooks.example/", "not a valid name"),
        ("https://hooks。example/", "plain dots"),
        ("https://ｅxample.com/", "internationalised"),
        ("https://①②⑦.⓪.⓪.①/", "internationalised"),
        ("https://xn--a.example/", "internationalised"),
        ("https://" + "a." * 130 + "example/", "not a valid name"),
        ("https://127.0.0.1/", "host name instead"),
        ("https://8.8.8.8/", "host name instead"),
        ("https://127.1/", "usual form"),
        ("https://0x7f.1/", "usual form"),
        ("https://0x7f000001/", "usual form"),
        ("https://2130706433/", "usual form"),
        ("https://0177.0.0.1/", "usual form"),
        ("https://1.2.3.4.5/", "usual form"),
        ("https://[::1]/", "host name instead"),
        ("https://[::ffff:127.0.0.1]/", "host name instead"),
        ("https://[2606:4700::1111]/", "host name instead"),
        ("https://[fe80::1%25lo]/", "zone"),
        ("https://[fe80::1%lo]/", "zone"),
        ("https://[::1/", "cannot be read"),
        ("https://::1/", "from 1 to 65535"),
        ("https://[127.0.0.1]/", "not an IPv6 address"),
        ("https://hooks.example/" + "a" * MAX_URL, "longer than"),
    ],
)
def test_anything_else_is_refused_with_its_reason(url: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as refused:
        EMPTY.check_url(url, "webhook.url")
    assert refused.value.problems[0].field == "webhook.url"


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("hooks.corp.example:8443", "http://HOOKS.corp.example:8443/x"),
        ("hooks.corp.example", "http://hooks.corp.example/x"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
        ("[::1]:5000", "http://[::1]:5000/"),
        ("10.0.0.0/8", "http://10.1.2.3/"),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/"),
        ("10.0.0.0/8:8080", "http://intranet:8080/"),
        ("169.254.169.254", "http://169.254.169.254/latest"),
    ],
)
def test_an_entry_of_the_allow_list_lets_its_target_through(entry: str, url: str) -> None:
    with pytest.raises(InvalidArgument):
        EMPTY.check_url(url)
    EgressPolicy.parse([entry]).check_url(url)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("hooks.corp.example:8443", "http://hooks.corp.example:8444/"),
        ("hooks.corp.example", "http://hooks.corp.example.evil.example/"),
        ("hooks.corp.example", "http://xhooks.corp.example/"),
        ("hooks.corp.example", "http://hooks.corp.example./"),
        ("10.0.0.0/8:8080", "http://intranet:8081/"),
        ("127.0.0.1", "http://127.1/"),
        ("0.0.0.0/0", "http://169.254.169.254/latest"),
        ("0.0.0.0/0", "http://0.0.0.0/"),
    ],
)
def test_and_nothing_beside_it(entry: str, url: str) -> None:
    with pytest.raises(InvalidArgument):
        EgressPolicy.parse([entry]).check_url(url)


@given(
    st.text(max_size=60) | st.text(alphabet="htps:/@\\.[]%#?0123456789abx\t\u3002", max_size=40).map("https://".__add__)
)
def test_no_text_does_anything_but_pass_or_be_refused(url: str) -> None:
    try:
        target = EMPTY.check_url(url)
    except InvalidArgument:
        return
    assert target.scheme == "https"
    assert target.port == 443
    assert target.address is None
    assert target.host.isascii()
