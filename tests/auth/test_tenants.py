"""Which tenant a request is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.auth.tenants import LOOPBACK, PublicUrls, Tenants, audiences, ensure_default_tenant, normalise
from interlock.errors import AlreadyExists, InvalidArgument, NotFound
from interlock.ports import Access, AuditEntry, BulkAction, BulkKind, TenantRow
from interlock.ports.bulk import EVERY_AUTOMATION
from interlock.rules.model import SYSTEM
from interlock.store.sqlite.store import SqliteStore
from tests.loops import METER

pytestmark = pytest.mark.anyio

ENDED = BulkAction(id="b", automation=EVERY_AUTOMATION, kind=BulkKind.TERMINATE_ACTIVE, actor=SYSTEM)
MADE = AuditEntry(actor=SYSTEM, action="tenant.create", target="x")


@pytest.fixture
async def access() -> AsyncIterator[Access]:
    store = SqliteStore(None)
    yield store.access
    await store.close()


@pytest.mark.parametrize(
    ("sent", "normal"),
    [
        ("Acme.Example", "acme.example"),
        ("acme.example:8443", "acme.example"),
        ("acme.example.", "acme.example"),
        ("acme.example.:80", "acme.example"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]:8080", "::1"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example:1", "xn--bcher-kva.example"),
        ("localhost:", "localhost"),
    ],
)
def test_a_host_has_one_form(sent: str, normal: str) -> None:
    assert normalise(sent) == normal
    assert normalise(f"[{normal}]" if ":" in normal else normal) == normal


NO_HOSTS = ["", ".", "a..b", "a b", "a\tb", "a\x00", "a,a,", "-a.example", "a-.example", "x" * 64, "user@acme.example"]
NO_HOSTS += [
    "acme.example/x",
    "a:b",
    "a:123456",
    "a.example:１",
    "::1",
    "[::1",
    "[::1]x",
    "[fe80::1%eth0]",
    "[1.2.3.4]",
]


@pytest.mark.parametrize("sent", NO_HOSTS)
def test_what_is_no_host_is_refused(sent: str) -> None:
    with pytest.raises(InvalidArgument, match="Host"):
        normalise(sent)


@given(st.text(max_size=80))
def test_any_text_is_a_host_in_its_one_form_or_refused(text: str) -> None:
    try:
        normal = normalise(text)
    except InvalidArgument:
        return
    assert normal.isascii()
    assert normal == normal.lower()
    assert normalise(f"[{normal}]" if ":" in normal else normal) == normal


def test_the_audience_of_an_ipv6_host_has_two_spellings() -> None:
    assert audiences("::1") == {"::1", "[::1]"}
    assert audiences("127.0.0.1") == {"127.0.0.1"}
    assert audiences("acme.example") == {"acme.example"}


async def test_the_default_tenant_answers_to_loopback_and_the_names_it_is_given(access: Access) -> None:
    made = await ensure_default_tenant(access, ("Ops.Example:8443",), 1)
    tenants = Tenants(access)
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080", "ops.example", *(f"{name}" for name in LOOPBACK[:1])):
        assert (await tenants.resolve(host))[0] == made
    assert (await tenants.resolve("OPS.example.:1"))[1] == "ops.example"


async def test_the_default_tenant_is_made_once_and_learns_new_names(access: Access) -> None:
    first = await ensure_default_tenant(access, (), 1)
    assert await ensure_default_tenant(access, (), 2) == first
    later = await ensure_default_tenant(access, ("new.example",), 3)
    assert later.id == first.id
    assert set(later.hosts) == {*LOOPBACK, "new.example"}
    assert len(await access.tenants()) == 1
    await access.create_tenant("other", ("taken.example",), 4, MADE)
    with pytest.raises(AlreadyExists):
        await ensure_default_tenant(access, ("taken.example",), 5)


@pytest.mark.parametrize(
    ("public", "hosts", "url"),
    [
        ("http://127.0.0.1:8080", ("acme.example",), "http://acme.example:8080"),
        ("https://interlock.example", ("acme.example",), "https://acme.example"),
        ("https://interlock.example/under", ("acme.example",), "https://acme.example/under"),
        ("https://[::1]:8443", ("::2", "192.0.2.1", "b.example", "a.example"), "https://a.example:8443"),
        ("http://[::1]:8443", ("::2",), "http://[::2]:8443"),
    ],
)
async def test_a_tenant_is_reached_at_a_host_of_its_own(
    access: Access, public: str, hosts: tuple[str, ...], url: str
) -> None:
    default = await ensure_default_tenant(access, [], 1)
    urls = PublicUrls(access)
    urls.reached_at(public)
    other = await access.create_tenant("acme", hosts, 1, MADE)
    assert (await urls.of(default.id), await urls.of(other.id)) == (public, url)
    assert await urls.of(other.id) == url
    assert (await Tenants(access).resolve(urlsplit(url).netloc))[0].id == other.id


async def test_an_unknown_host_is_not_found_until_it_is_known(access: Access) -> None:
    tenants = Tenants(access)
    for _ in range(2):
        with pytest.raises(NotFound, match=r"^not found$"):
            await tenants.resolve("acme.example")
    made = await access.create_tenant("acme", ("acme.example",), 1, MADE)
    assert await tenants.resolve("acme.example") == (made, "acme.example")


async def test_spellings_of_a_host_do_not_fill_the_memory(access: Access) -> None:
    made = await access.create_tenant("acme", ("acme.example",), 1, MADE)
    tenants = Tenants(access)
    with METER.leaving_out():
        for port in range(3_000):
            assert (await tenants.resolve(f"acme.example:{port}"))[0] == made
    assert len(tenants._known) <= 1_024


async def test_tenant_that_is_revoked_while_it_is_read_is_not_remembered(access: Access) -> None:
    made = await access.create_tenant("acme", ("acme.example",), 1, MADE)
    read, revoked = asyncio.Event(), asyncio.Event()

    class Slow:
        """Reads tenants, and tells of them later."""

        def __getattr__(self, name: str) -> Any:
            return getattr(access, name)

        async def tenant_of_host(self, host: str) -> TenantRow | None:
            row = await access.tenant_of_host(host)
            read.set()
            await revoked.wait()
            return row

    tenants = Tenants(Slow())
    asking = asyncio.ensure_future(tenants.resolve("acme.example"))
    await read.wait()
    assert await access.revoke_tenant(made.id, 2, MADE, ENDED, now=2)
    revoked.set()
    # Another request is the first to notice, and what was remembered is forgotten.
    with pytest.raises(NotFound):
        await tenants.resolve("unknown.example")
    assert await asking == (made, "acme.example")
    with pytest.raises(NotFound):
        await tenants.resolve("acme.example")


async def test_a_revoked_tenant_is_not_found_though_it_was_remembered(access: Access) -> None:
    made = await access.create_tenant("acme", ("acme.example",), 1, MADE)
    tenants = Tenants(access)
    await tenants.resolve("acme.example")
    assert await access.revoke_tenant(made.id, 2, MADE, ENDED, now=2)
    with pytest.raises(NotFound):
        await tenants.resolve("acme.example")
