"""IP addresses and ranges, as the maps that stand for them in expressions.

An address is a map so that its properties are plain fields: `ip(x).isPrivate`. The properties mean what they mean in
Go's net/netip. An IPv4 address written inside IPv6 (`::ffff:10.0.0.1`) counts as the IPv4 address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from interlock.expressions.failures import FunctionFailed
from interlock.expressions.values import ADDRESS

_RANGES: Final = "@ranges"
_PRIVATE: Final = tuple(ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))


def _read(text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise FunctionFailed("a text is not an IP address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise FunctionFailed("an IP address has a zone; only addresses without one can be compared")
        return address.ipv4_mapped or address
    return address


def ip(text: str) -> dict[str, object]:
    """An address with its properties. Raises FunctionFailed."""
    address = _read(text)
    v6 = address.packed if isinstance(address, IPv6Address) else b""
    broadcast = address == IPv4Address("255.255.255.255")
    return {
        ADDRESS: str(address),
        "is4": address.version == 4,
        "is6": address.version == 6,
        "isPrivate": any(address in network for network in _PRIVATE if network.version == address.version),
        "isLoopback": address.is_loopback,
        "isGlobalUnicast": not (
            address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local or broadcast
        ),
        "isMulticast": address.is_multicast,
        "isInterfaceLocalMulticast": v6[:1] == b"\xff" and v6[1] & 0x0F == 1,
        "isLinkLocalMulticast": (v6[:1] == b"\xff" and v6[1] & 0x0F == 2)
        or (isinstance(address, IPv4Address) and address in IPv4Network("224.0.0.0/24")),
        "isUnspecified": address.is_unspecified,
    }


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    # ip_network takes an address without a length; a range has to say how long its prefix is.
    if not text.rpartition("/")[2].isascii() or not text.rpartition("/")[2].isdigit() or "/" not in text:
        raise FunctionFailed("a text is not a CIDR range such as 10.0.0.0/8")
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise FunctionFailed("a text is not a CIDR range such as 10.0.0.0/8") from None


def cidr(*ranges: str) -> dict[str, object]:
    """Return the network value of one or more ranges in CIDR notation.

    Raises:
        FunctionFailed: A text is not a range.
    """
    return {_RANGES: [str(_network(text)) for text in ranges]}


def cidr_list(ranges: Sequence[object]) -> dict[str, object]:
    """The same of a list."""
    if not all(isinstance(text, str) for text in ranges):
        raise FunctionFailed("cidr() takes texts, or a list of texts")
    return cidr(*[str(text) for text in ranges])


def contains(ranges: Mapping[str, object], address: Mapping[str, object]) -> bool:
    """Whether one of the ranges holds the address. Raises FunctionFailed for maps that are neither."""
    texts = ranges.get(_RANGES)
    text = address.get(ADDRESS)
    if not isinstance(texts, list) or not isinstance(text, str):
        raise FunctionFailed("contains() and within() compare a cidr() with an ip()")
    read = _read(text)
    networks = (_network(str(item)) for item in texts)
    return any(read in network for network in networks if network.version == read.version)


def within(address: Mapping[str, object], ranges: Mapping[str, object]) -> bool:
    """`contains` with its sides exchanged."""
    return contains(ranges, address)
