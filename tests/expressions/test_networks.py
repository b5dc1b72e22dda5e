"""Addresses and ranges."""

from __future__ import annotations

import pytest

from interlock.expressions.failures import ExpressionFailed
from tests.expressions.given import evaluate


@pytest.mark.parametrize(
    ("source", "gives"),
    [
        ('cidr("10.50.0.0/16", "192.168.0.0/16").contains(ip("192.168.3.4"))', True),
        ('cidr(["172.16.0.0/12"]).contains(ip("10.1.1.1"))', False),
        ('ip("10.1.2.5").within(cidr("10.1.2.0/24"))', True),
        ('ip("10.1.2.5").within(cidr("10.1.2.7/24"))', True),
        ('ip("::ffff:10.1.2.5").within(cidr("10.1.2.0/24"))', True),
        ('ip("fd00::1").within(cidr("10.0.0.0/8"))', False),
        ('ip("10.0.0.1") == ip("10.0.0.1")', True),
        ('cidr(ctx.a).contains(ip("10.0.0.1"))', True),
        ('"a string".contains("str")', True),
    ],
)
def test_ranges_hold_addresses(source: str, gives: bool) -> None:
    assert evaluate(source, {"a": ["10.0.0.0/8"]}) is gives


@pytest.mark.parametrize(
    ("address", "properties"),
    [
        ("10.0.0.1", "is4 isPrivate isGlobalUnicast"),
        ("8.8.8.8", "is4 isGlobalUnicast"),
        ("127.0.0.1", "is4 isLoopback"),
        ("0.0.0.0", "is4 isUnspecified"),
        ("224.0.0.1", "is4 isMulticast isLinkLocalMulticast"),
        ("255.255.255.255", "is4"),
        ("fd00::1", "is6 isPrivate isGlobalUnicast"),
        ("::1", "is6 isLoopback"),
        ("ff01::1", "is6 isMulticast isInterfaceLocalMulticast"),
        ("ff02::1", "is6 isMulticast isLinkLocalMulticast"),
        ("fe80::1", "is6"),
    ],
)
def test_an_address_has_the_properties_of_net_netip(address: str, properties: str) -> None:
    every = ["is4", "is6", "isPrivate", "isLoopback", "isGlobalUnicast", "isMulticast"]
    every += ["isInterfaceLocalMulticast", "isLinkLocalMulticast", "isUnspecified"]
    assert " ".join(name for name in every if evaluate(f'ip("{address}").{name}')) == properties


@pytest.mark.parametrize(
    "source",
    [
        'ip("10.0.0")',
        'ip("010.0.0.1")',
        'ip("fe80::1%eth0")',
        'cidr("10.0.0.1")',
        'cidr("10.0.0.0/255.0.0.0")',
        'cidr("10.0.0.0/33")',
        "cidr([1])",
        'subject.within(cidr("10.0.0.0/8"))',
    ],
)
def test_what_is_neither_fails(source: str) -> None:
    with pytest.raises(Exception, match=r"address|CIDR|cidr|overload"):
        evaluate(source)


def test_the_default_of_an_empty_text() -> None:
    assert evaluate('ctx.a.note.ifEmpty("none")', {"a": {"note": ""}}) == "none"
    with pytest.raises(ExpressionFailed):
        evaluate('ctx.a.note.ifEmpty("none")', {"a": {}})
