"""Which IP addresses are public, which may be opened up by an operator, and which never.

Written out instead of asking `ipaddress`: its `is_global` is true for multicast, NAT64, 6to4, site-local and several
cloud control addresses. The tables follow the IANA special-purpose registries (RFC 6890) and the clouds' own documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Reach(IntEnum):
    """How far an address is from being a target, from open to shut."""

    PUBLIC = 0
    PRIVATE = 1
    """Only if an entry of the allow-list covers it."""
    CONTROL = 2
    """Cloud metadata and link-local: only if an entry names exactly this address."""
    NEVER = 3


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_NEVER = _networks(
    "0.0.0.0/8",  # "this network": Linux dials it as loopback
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
    "::/128",
    "ff00::/8",
)

_CONTROL = _networks(
    "169.254.0.0/16",  # link-local; metadata of AWS, Azure, Google, Oracle, OpenStack, Tencent, Scaleway and others
    "168.63.129.16/32",  # Azure wire server
    "100.100.100.200/32",  # Alibaba metadata
    "192.0.0.192/32",  # Oracle classic metadata
    "fe80::/10",  # link-local, OpenStack metadata
    "fd00:ec2::/32",  # AWS metadata, credentials, DNS
    "fd20:ce::/32",  # Google metadata
    "fd00:42::42/128",  # Scaleway metadata
    "fd00:c1::a9fe:a9fe/128",  # Oracle metadata
)

_PRIVATE_4 = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",  # IETF protocol assignments
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # AMT
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
)

_GLOBAL_6 = IPv6Network("2000::/3")

_PRIVATE_6 = _networks(  # the blocks of 2000::/3 that are not public
    "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking, AMT
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
    "3ffe::/16",  # 6bone
    "3fff::/20",  # documentation
)

_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # SIIT, RFC 7915
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE, 0x01005EFE, 0x03005EFE})

_LOW_32 = 0xFFFFFFFF


@lru_cache(maxsize=4096)
def reach(address: Address) -> Reach:
    """How far `address` itself reaches, whatever addresses it may carry inside (see `forms`)."""
    if any(address in network for network in _NEVER):
        return Reach.NEVER
    if any(address in network for network in _CONTROL):
        return Reach.CONTROL
    if isinstance(address, IPv4Address):
        private = any(address in network for network in _PRIVATE_4)
    elif address in _NAT64:
        private = False  # an IPv6-only machine sees all of IPv4 through it; the address inside is judged by itself
    else:
        private = address not in _GLOBAL_6 or any(address in network for network in _PRIVATE_6)
    return Reach.PRIVATE if private else Reach.PUBLIC


def common_reach(network: Network) -> Reach | None:
    """NEVER or CONTROL if all of `network` is that, else None."""
    for kind, blocks in ((Reach.NEVER, _NEVER), (Reach.CONTROL, _CONTROL)):
        if any(network.network_address in block and network.prefixlen >= block.prefixlen for block in blocks):
            return kind
    return None


def direct(address: Address) -> Address:
    """The address the kernel dials: an IPv4-mapped one is IPv4 in another spelling."""
    if isinstance(address, IPv6Address) and address in _MAPPED:
        return IPv4Address(int(address) & _LOW_32)
    return address


def forms(address: Address) -> tuple[Address, ...]:
    """`address`, and each IPv4 address that a translator or a tunnel would make of it."""
    address = direct(address)
    return (address, *_embedded(address)) if isinstance(address, IPv6Address) else (address,)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    low = number & _LOW_32
    if address in _TRANSLATED or address in _NAT64 or (address in _COMPATIBLE and number > 1):
        yield IPv4Address(low)
    elif address in _NAT64_LOCAL:  # RFC 6052 section 2.2: the site may use /96, /64, /56 or /48
        yield IPv4Address(low)
        yield IPv4Address(number >> 24 & _LOW_32)
        yield IPv4Address((number >> 64 & 0xFF) << 24 | number >> 32 & 0xFFFFFF)
        yield IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & _LOW_32)
    elif address in _TEREDO:
        yield IPv4Address(number >> 64 & _LOW_32)
        yield IPv4Address(low ^ _LOW_32)
    if number >> 32 & _LOW_32 in _ISATAP:
        yield IPv4Address(low)
