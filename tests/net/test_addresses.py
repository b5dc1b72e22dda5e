"""Which addresses may be dialled: the table, and what an entry of the allow-list changes."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.net.addresses import Reach, direct, forms, reach
from interlock.net.egress import EgressPolicy

BLOCKED = """
    0.0.0.0             this network
    0.255.255.255       this network
    10.0.0.1            private
    10.255.255.255      private
    100.64.0.1          carrier-grade NAT
    100.100.100.200     Alibaba metadata
    100.127.255.255     carrier-grade NAT
    127.0.0.1           loopback
    127.255.255.254     loopback
    168.63.129.16       Azure wire server
    169.254.0.1         link-local
    169.254.0.23        Tencent metadata
    169.254.42.42       Scaleway metadata
    169.254.169.123     AWS time
    169.254.169.253     AWS DNS
    169.254.169.254     metadata nearly everywhere
    169.254.170.2       AWS container credentials
    169.254.170.23      AWS pod identity
    172.16.0.1          private
    172.31.255.255      private
    192.0.0.8           dummy address
    192.0.0.170         NAT64 discovery
    192.0.0.192         Oracle metadata
    192.0.2.1           documentation
    192.31.196.1        AS112
    192.52.193.1        AMT
    192.88.99.1         6to4 relay
    192.168.0.1         private
    192.175.48.1        AS112
    198.18.0.1          benchmarking
    198.19.255.255      benchmarking
    198.51.100.1        documentation
    203.0.113.1         documentation
    224.0.0.1           multicast
    239.255.255.255     multicast
    240.0.0.1           reserved
    255.255.255.255     broadcast
    ::                  unspecified
    ::1                 loopback
    ::127.0.0.1         IPv4-compatible
    ::8.8.8.8           IPv4-compatible, even of a public address
    ::ffff:127.0.0.1    IPv4-mapped
    ::ffff:10.0.0.1     IPv4-mapped
    ::ffff:169.254.169.254  IPv4-mapped
    ::ffff:7f00:1       IPv4-mapped
    ::ffff:0:7f00:1     IPv4-translated
    ::ffff:0:808:808    IPv4-translated, even of a public address
    64:ff9b::7f00:1     NAT64 of loopback
    64:ff9b::a00:1      NAT64 of private
    64:ff9b::a9fe:a9fe  NAT64 of metadata
    64:ff9b:1::1        local NAT64
    64:ff9b:1:a9fe:a9:fe00::  local NAT64 of metadata
    100::1              discard
    2001::1             Teredo
    2001:0:4136:e378:8000:63bf:80ff:fffe  Teredo of loopback
    2001:2::1           benchmarking
    2001:10::1          ORCHID
    2001:20::1          ORCHIDv2
    2001:db8::1         documentation
    2002:7f00:1::       6to4 of loopback
    2002:a9fe:a9fe::1   6to4 of metadata
    2002:808:808::1     6to4, even of a public address
    2620:4f:8000::1     AS112
    2606:4700::5efe:7f00:1       ISATAP of loopback
    2606:4700::200:5efe:a00:1    ISATAP of private
    2606:4700::5efe:a9fe:a9fe    ISATAP of metadata
    3ffe::1             6bone
    3fff::1             documentation
    4000::1             not handed out
    5f00::1             segment routing
    fc00::1             unique local
    fd00:ec2::254       AWS metadata
    fd00:ec2::23        AWS pod identity
    fd20:ce::254        Google metadata
    fd00:42::42         Scaleway metadata
    fd12:3456::1        unique local
    fe80::1             link-local
    fe80::1%lo          with a zone
    fe80::a9fe:a9fe     OpenStack metadata
    2606:4700::1%eth0   public, but with a zone
    fec0::1             site-local
    ff02::1             multicast
    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff  the last one
    localhost           not an address
    127.1               not an address in its usual form
    0177.0.0.1          octal
"""

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2606:4700::5efe:808:808",
]

ROWS = [row.split(maxsplit=1) for row in BLOCKED.strip().splitlines()]
EMPTY = EgressPolicy.parse([])


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 60


@pytest.mark.parametrize(("address", "why"), ROWS)
def test_it_is_blocked_without_an_entry(address: str, why: str) -> None:
    assert not EMPTY.permits(address, 443, "hooks.example"), why


@pytest.mark.parametrize("address", PUBLIC)
def test_it_is_open_to_https_on_443_only(address: str) -> None:
    assert EMPTY.permits(address, 443, "hooks.example")
    assert not EMPTY.permits(address, 443, "hooks.example", scheme="http")
    assert not EMPTY.permits(address, 80, "hooks.example")
    assert not EMPTY.permits(address, 8443, "hooks.example")


@pytest.mark.parametrize(
    ("entry", "address", "port", "host"),
    [
        ("10.20.0.0/16:8443", "10.20.3.4", 8443, "any.example"),
        ("10.20.0.0/16:8443", "::ffff:10.20.3.4", 8443, "any.example"),
        ("10.20.0.0/16", "10.20.3.4", 9000, "any.example"),
        ("127.0.0.1", "127.0.0.1", 5000, "127.0.0.1"),
        ("0.0.0.0/0", "192.168.1.1", 80, "any.example"),
        ("::/0", "fd12:3456::1", 80, "any.example"),
        ("[fd12:3456::]/64:8443", "fd12:3456::9", 8443, "any.example"),
        ("[fd12:3456::/64]:8443", "fd12:3456::9", 8443, "any.example"),
        ("fd12:3456::/64:8443", "fd12:3456::9", 8443, "any.example"),
        ("fd12:3456::9", "fd12:3456::9", 1, "any.example"),
        ("[::1]:8080", "::1", 8080, "any.example"),
        ("Hooks.Corp.Example:8443", "192.168.1.1", 8443, "hooks.corp.example"),
        ("hooks.corp.example", "127.0.0.1", 5000, "HOOKS.corp.example"),
        ("bücher.example", "10.0.0.1", 80, "xn--bcher-kva.example"),
        ("169.254.169.254:80", "169.254.169.254", 80, "169.254.169.254"),
        ("169.254.169.254/32", "169.254.169.254", 80, "169.254.169.254"),
        ("fd00:ec2::254", "fd00:ec2::254", 80, "metadata.example"),
    ],
)
def test_an_entry_opens_what_it_names_for_http_too(entry: str, address: str, port: int, host: str) -> None:
    policy = EgressPolicy.parse([entry])
    assert policy.permits(address, port, host, scheme="http")
    assert policy.permits(address, port, host, scheme="https")


@pytest.mark.parametrize(
    ("entry", "address", "port", "host"),
    [
        ("10.20.0.0/16:8443", "10.20.3.4", 443, "any.example"),
        ("10.20.0.0/16:8443", "10.21.0.1", 8443, "any.example"),
        ("hooks.corp.example", "10.0.0.1", 443, "hooks.corp.example.evil.example"),
        ("hooks.corp.example", "10.0.0.1", 443, "evilhooks.corp.example"),
        ("hooks.corp.example", "10.0.0.1", 443, "x.hooks.corp.example"),
        ("hooks.corp.example", "10.0.0.1", 443, "hooks.corp.example."),
        ("hooks.corp.example", "10.0.0.1", 443, ""),
        ("hooks.corp.example:8443", "10.0.0.1", 443, "hooks.corp.example"),
        # metadata and link-local: neither a name nor a network that merely covers them
        ("hooks.corp.example", "169.254.169.254", 443, "hooks.corp.example"),
        ("hooks.corp.example", "fe80::1", 443, "hooks.corp.example"),
        ("0.0.0.0/0", "169.254.169.254", 80, "any.example"),
        ("0.0.0.0/0", "168.63.129.16", 80, "any.example"),
        ("100.64.0.0/10", "100.100.100.200", 80, "any.example"),
        ("0.0.0.0/0", "::ffff:169.254.169.254", 80, "any.example"),
        ("::/0", "64:ff9b::a9fe:a9fe", 80, "any.example"),
        ("::/0", "2002:a9fe:a9fe::1", 80, "any.example"),
        ("::/0", "fd00:ec2::254", 80, "any.example"),
        ("fd00::/8", "fd20:ce::254", 80, "any.example"),
        ("169.254.169.253", "169.254.169.254", 80, "any.example"),
        ("169.254.169.254:80", "169.254.169.254", 443, "any.example"),
        # what a tunnel hides inside must be allowed by itself
        ("2002::/16", "2002:7f00:1::", 443, "any.example"),
        # never, whichever entry names it
        ("hooks.corp.example", "0.0.0.0", 443, "hooks.corp.example"),
        ("0.0.0.0/0", "0.0.0.0", 443, "any.example"),
        ("0.0.0.0/0", "255.255.255.255", 443, "any.example"),
        ("::/0", "ff02::1", 443, "any.example"),
        ("::/0", "::", 443, "any.example"),
    ],
)
def test_an_entry_opens_nothing_else(entry: str, address: str, port: int, host: str) -> None:
    assert not EgressPolicy.parse([entry]).permits(address, port, host)


@given(st.ip_addresses(v=4))
def test_mapping_an_address_changes_nothing(address: IPv4Address) -> None:
    mapped = f"::ffff:{address}"
    assert EMPTY.refusal(mapped, 443) == EMPTY.refusal(str(address), 443)


@given(st.ip_addresses(v=4))
def test_what_is_hidden_inside_is_found(inner: IPv4Address) -> None:
    number = int(inner)
    carriers = [
        IPv6Address(0x64FF9B << 96 | number),
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x20010000 << 96 | 0x01020304 << 64 | (number ^ 0xFFFFFFFF)),
        IPv6Address(0x20010000 << 96 | number << 64 | 0xFEFEFEFE),
        IPv6Address(0x26064700 << 96 | 0x00005EFE << 32 | number),
        IPv6Address(0x0064FF9B0001 << 80 | (number >> 16) << 64 | (number & 0xFFFF) << 40),
        IPv6Address(0x0064FF9B0001 << 80 | (number >> 24) << 64 | (number & 0xFFFFFF) << 32),
        IPv6Address(0x0064FF9B0001 << 80 | number << 24),
        IPv6Address(0x0064FF9B0001 << 80 | number),
    ]
    for carrier in carriers:
        assert inner in forms(carrier)
    if reach(inner) is not Reach.PUBLIC:
        assert not any(EMPTY.permits(str(carrier), 443) for carrier in carriers)


@given(st.ip_addresses(v=6))
def test_outside_global_unicast_only_what_stands_for_public_ipv4_is_open(address: IPv6Address) -> None:
    if EMPTY.permits(str(address), 443) and direct(address) is address:
        assert int(address) >> 125 == 1 or int(address) >> 32 == 0x64FF9B << 64
