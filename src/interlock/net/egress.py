"""To where this machine may talk: the operator's allow-list, the URL rules and the verdict on an address.

Without an allow-list only `https` on port 443 to public addresses is open. An entry of `--allow-egress` opens more:

    10.20.0.0/16:8443      a network and a port       [fd00:1::]/64:8443   the same for IPv6
    10.20.0.7              an address, every port     [fd00:1::7]:8443     an IPv6 address and a port
    hooks.corp.example     exactly this host name, every port; whatever private address it has

What an entry covers may also be reached over `http`. Cloud metadata and link-local addresses are never covered by a
network or a name: only an entry that is exactly that address opens it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

import idna

from interlock.errors import InvalidArgument, Problem
from interlock.net.addresses import Address, Network, Reach, common_reach, direct, forms, reach

MAX_URL = 2048
"""Characters in a URL."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.ASCII)
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_ENCODED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])", re.ASCII)
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_DOTS = re.compile("[\u3002\uff0e\uff61]")

_DEFAULT_PORTS = {"https": 443, "http": 80}


def authority(scheme: str, host: str, port: int | None) -> str:
    """Host and port as a URL has them, without a port that the scheme implies (RFC 3986, section 3.2)."""
    named = f"[{host}]" if ":" in host else host
    return named if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{named}:{port}"


_FLAG = "--allow-egress"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `host` is lower case, in its ASCII form, without brackets; `path` and `query` stay encoded."""

    scheme: str
    host: str
    port: int
    path: str
    query: str
    address: Address | None
    """Set if the host is written as an address."""


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str | None
    network: Network | None
    port: int | None

    def names(self, address: Address) -> bool:
        network = self.network
        return network is not None and network.num_addresses == 1 and network.network_address == address

    def covers(self, address: Address, host: str) -> bool:
        if self.network is not None:
            return address in self.network
        return self.host == host

    def opens(self, port: int) -> bool:
        return self.port is None or self.port == port


class EgressPolicy:
    """An immutable set of rules; make it with `parse`."""

    __slots__ = ("_entries",)

    def __init__(self, entries: tuple[_Entry, ...] = ()) -> None:
        self._entries = entries

    @classmethod
    def parse(cls, allow: Sequence[str]) -> EgressPolicy:
        """Read the entries of `--allow-egress`. Raises InvalidArgument that names every entry that cannot be read."""
        entries: list[_Entry] = []
        problems: list[Problem] = []
        for text in allow:
            try:
                entries.append(_entry(text))
            except ValueError as wrong:
                problems.append(Problem(_FLAG, f"{text!r}: {wrong}"))
        if problems:
            raise InvalidArgument(problems=tuple(problems))
        return cls(tuple(entries))

    def check_url(self, url: str, field: str = "url") -> Target:
        """Take `url` apart and hold it against the rules that need no name lookup.

        For when it is saved, and again for when it is used. Raises InvalidArgument, whose problem names `field`.
        """
        try:
            target = _target(url)
            self._check_target(target)
        except ValueError as wrong:
            raise InvalidArgument.at(field, str(wrong)) from None
        return target

    def permits(self, address: str, port: int, host: str = "", *, scheme: str = "https") -> bool:
        """May a connection be opened to `address`, which is what `host` (if any) resolved to?"""
        return self.refusal(address, port, host, scheme=scheme) is None

    def refusal(self, address: str, port: int, host: str = "", *, scheme: str = "https") -> str | None:
        """Why `permits` says no, for the operator's log; a user must not be told. None if it says yes."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return "not an address"
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            return "zone"
        parsed = direct(parsed)
        open_entries = [entry for entry in self._entries if entry.opens(port)]
        host = host.lower()
        for form in forms(parsed):
            kind = reach(form)
            if kind is Reach.NEVER:
                return "never"
            if any(entry.names(form) or entry.names(parsed) for entry in open_entries):
                continue
            if kind is Reach.CONTROL:
                return "metadata or link-local"
            if any(entry.covers(form, host) for entry in open_entries):
                continue
            if kind is Reach.PRIVATE:
                return "private"
            if port != 443:
                return "port"
            if scheme != "https":
                return "scheme"
        return None

    def _check_target(self, target: Target) -> None:
        if target.address is not None:
            if not any(
                entry.opens(target.port) and entry.covers(direct(target.address), target.host)
                for entry in self._entries
            ):
                raise ValueError(f"use a host name instead of an address; an operator can allow it with {_FLAG}")
            if not self.permits(str(target.address), target.port, target.host, scheme=target.scheme):
                raise ValueError("this address is not allowed as a target")
        elif (target.scheme != "https" or target.port != 443) and not any(
            # A network may open the port for a name as well: which it is turns out when the name is looked up.
            entry.opens(target.port) and (entry.network is not None or entry.host == target.host)
            for entry in self._entries
        ):
            what = "use https" if target.scheme != "https" else "use port 443"
            raise ValueError(f"{what}; an operator can allow this target with {_FLAG}")


def _target(url: str) -> Target:
    if len(url) > MAX_URL:
        raise ValueError(f"longer than {MAX_URL} characters")
    if _CONTROL_OR_SPACE.search(url):
        raise ValueError("must not contain spaces or control characters")
    if "\\" in url:
        raise ValueError("must not contain a backslash")
    parts = _URL.fullmatch(url)
    if parts is None or parts[1].lower() not in _DEFAULT_PORTS:
        raise ValueError("must be an absolute URL that starts with https://")
    scheme = parts[1].lower()
    if "@" in parts[2]:
        raise ValueError("must not contain a user name or password")
    if parts[5] is not None:
        raise ValueError("must not contain a fragment (#)")
    path, query = parts[3] or "/", parts[4] or ""
    if not _PATH.fullmatch(path) or not _PATH.fullmatch(query):
        raise ValueError("the path and the query must be percent-encoded ASCII")
    if _ENCODED_CONTROL.search(path) or _ENCODED_CONTROL.search(query):
        raise ValueError("must not contain encoded control characters")
    authority = _AUTHORITY.fullmatch(parts[2])
    if authority is None:
        raise ValueError("the host cannot be read; an IPv6 address goes in brackets")
    port = _DEFAULT_PORTS[scheme] if authority[2] is None else _port(authority[2])
    host = authority[1]
    if host.startswith("["):
        address = _ipv6(host[1:-1])
        return Target(scheme, str(address), port, path, query, address)
    host, literal = _host(host)
    return Target(scheme, host, port, path, query, literal)


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError("the port must be a number from 1 to 65535")
    return int(text)


def _ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise ValueError("not an IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError("an IPv6 address must not name a zone (%)")
    return address


def _host(text: str) -> tuple[str, Address | None]:
    """A host in its one form, and its address if it is one. IPv4 has one spelling here: four decimal numbers."""
    if not text:
        raise ValueError("the host is missing")
    if _DOTS.search(text):
        raise ValueError("the host must use plain dots")
    if text.endswith("."):
        raise ValueError("the host must not end in a dot")
    host = text.lower()
    if not host.isascii() or "xn--" in host:
        try:
            host = idna.encode(host).decode("ascii")
        except idna.IDNAError:
            raise ValueError("the host is not a valid internationalised name (IDNA 2008)") from None
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is not a valid name")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        try:
            return host, ip_address(host)
        except ValueError:
            raise ValueError("the host looks like an address, but is not one in its usual form") from None
    return host, None


def _entry(text: str) -> _Entry:
    if not text or _CONTROL_OR_SPACE.search(text):
        raise ValueError("must not be empty or contain spaces")
    if "://" in text or "@" in text:
        raise ValueError("write HOST or CIDR with an optional :PORT, not a URL")
    if "*" in text:
        raise ValueError("wildcards are not understood; name each host")
    rest, port = _split_port(text)
    address, slash, prefix = rest.partition("/")
    bracketed = address.startswith("[")
    if bracketed:
        if not address.endswith("]"):
            raise ValueError("the bracket is not closed")
        address = address[1:-1]
    if slash or ":" in address or bracketed:
        return _Entry(None, _network(address, prefix if slash else None), port)
    host, literal = _host(address)
    return _Entry(None, _network(host, None), port) if literal is not None else _Entry(host, None, port)


def _split_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        inside, bracket, after = text.partition("]")
        if bracket and "/" in inside:  # [fd00::/8]:443, beside [fd00::]/8:443
            address, _, prefix = inside.partition("/")
            text = f"{address}]/{prefix}{after}"
        head, bracket, tail = text.rpartition("]")
        before, colon, port = tail.partition(":")
        return (head + bracket + before, _port(port) if colon else None)
    if "/" in text:
        before, slash, tail = text.partition("/")
        prefix, colon, port = tail.partition(":")
        return (before + slash + prefix, _port(port) if colon else None)
    if text.count(":") == 1:
        before, _, port = text.partition(":")
        return before, _port(port)
    return text, None


def _network(address: str, prefix: str | None) -> Network:
    if "%" in address:
        raise ValueError("an IPv6 address must not name a zone (%)")
    if prefix is not None and not (prefix.isascii() and prefix.isdigit()):
        raise ValueError("the number after / must be a prefix length such as 16")
    try:
        network = ip_network(address if prefix is None else f"{address}/{prefix}", strict=False)
    except ValueError:
        raise ValueError("not an address or a network") from None
    if str(network.network_address) != str(ip_address(address)):
        raise ValueError(f"has host bits set; did you mean {network}?")
    if direct(network.network_address) != network.network_address:
        raise ValueError("write an IPv4-mapped address in its IPv4 form")
    kind = common_reach(network)
    if kind is Reach.NEVER:
        raise ValueError("nothing can be reached there")
    if kind is Reach.CONTROL and network.num_addresses > 1:
        raise ValueError("metadata and link-local addresses must be named one by one")
    return network
