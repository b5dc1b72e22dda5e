"""Which tenant a request is for: the one that answers to the host it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import idna

from interlock.auth.known import Known
from interlock.errors import InvalidArgument, NotFound
from interlock.ports import Access, AuditEntry, TenantRow
from interlock.rules.model import SYSTEM

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
"""Names that the default tenant answers to."""
DEFAULT_TENANT: Final = "default"

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{0,5}", re.ASCII)
MAX_HOST_CHARACTERS: Final = 512
"""Characters of a Host header that are looked at: a name has at most 253, and its form in Unicode is no longer."""
_CACHED: Final = 1_024


def normalise(host: str) -> str:
    """A Host header's name (RFC 9110 section 7.2) in its one form.

    Lower case, without port, brackets and trailing dot, in ASCII (IDNA 2008); an IPv6 address in its shortest form.

    Raises:
        InvalidArgument: it is not a host.
    """
    if len(host) > MAX_HOST_CHARACTERS:
        raise _not_a_host()
    if host.startswith("["):
        inside, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or not _PORT.fullmatch(port[1:]):
            raise _not_a_host()
        try:
            address = IPv6Address(inside)
        except ValueError:
            raise _not_a_host() from None
        if address.scope_id is not None:
            raise _not_a_host()
        return str(address)
    name, _, port = host.partition(":")
    if not _PORT.fullmatch(port):
        raise _not_a_host()
    name = name.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise _not_a_host() from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise _not_a_host()
    return name


def audiences(host: str) -> frozenset[str]:
    """The audiences that name a normalised host: for an IPv6 address with and without brackets, as clients differ."""
    try:
        bracketed = ip_address(host).version == 6
    except ValueError:
        bracketed = False
    return frozenset({host, f"[{host}]"}) if bracketed else frozenset({host})


class Tenants:
    """Finds the tenant of a host, and remembers what it found until anything is revoked."""

    def __init__(self, access: Access) -> None:
        self._access = access
        # One host has many spellings, and callers choose them.
        self._known: Known[str, tuple[TenantRow, str]] = Known(access, _CACHED)

    async def resolve(self, host: str) -> tuple[TenantRow, str]:
        """Return the tenant of a Host header, and the host in its normal form.

        Raises:
            InvalidArgument: The header is not a host.
            NotFound: No tenant has the host; the message is always the same.
        """
        known = self._known.get(host)
        if known is not None:
            return known
        normal = normalise(host)
        generation = self._known.generation
        tenant = await self._access.tenant_of_host(normal)
        if tenant is None:
            raise NotFound
        found = (tenant, normal)
        self._known.keep(host, found, generation)
        return found


class PublicUrls:
    """Where remotes and clients reach each tenant: the server's public URL with a host of the tenant's own.

    The default tenant has the public URL itself. Every tenant has its scheme, port and path. Of several
    hosts the first in alphabetical order is taken, names before addresses.
    """

    def __init__(self, access: Access, url: str = "") -> None:
        self._access = access
        self._known: Known[int, str] = Known(access, _CACHED)
        self._url = url
        self._is_known = True

    def reached_at(self, url: str, *, is_known: bool = True) -> None:
        """Say where the default tenant is reached: a URL without a slash at its end.

        Args:
            is_known: False if remotes do not reach the server by that host; its scheme and port are right all the same.
        """
        self._url = url
        self._is_known = is_known
        self._known.clear()

    async def of(self, tenant: int) -> str:
        """The URL of a tenant, without a slash at its end; empty if it is not known."""
        known = self._known.get(tenant)
        if known is None:
            generation = self._known.generation
            found = next((row for row in await self._access.tenants() if row.id == tenant), None)
            known = self._url if self._is_known else ""
            if found is not None and found.name != DEFAULT_TENANT and found.hosts:
                known = self.at(min(found.hosts, key=lambda host: (_is_address(host), host)))
            self._known.keep(tenant, known, generation)
        return known

    def at(self, host: str) -> str:
        """The public URL with another host, given in its normal form."""
        parts = urlsplit(self._url)
        return urlunsplit(parts._replace(netloc=self.authority(host)))

    def authority(self, host: str) -> str:
        """A host in its normal form as it stands in a URL, with the port of the public URL if that names one."""
        port = urlsplit(self._url).port
        name = f"[{host}]" if ":" in host else host
        return name if port is None else f"{name}:{port}"


async def ensure_default_tenant(access: Access, hosts: Iterable[str], at: int) -> TenantRow:
    """The default tenant, made if there is none, and answering to the loopback names and to `hosts`.

    Raises:
        InvalidArgument: one of `hosts` is not a host.
        AlreadyExists: one of `hosts` belongs to another tenant.
    """
    names = tuple(dict.fromkeys((*LOOPBACK, *(_of_option(host) for host in hosts))))
    found = next((tenant for tenant in await access.tenants() if tenant.name == DEFAULT_TENANT), None)
    if found is None:
        entry = AuditEntry(actor=SYSTEM, action="tenant.create", target=f"tenant:{DEFAULT_TENANT}")
        return await access.create_tenant(DEFAULT_TENANT, names, at, entry)
    if not set(names) <= set(found.hosts):
        await access.add_hosts(found.id, names, at)
        found = next(tenant for tenant in await access.tenants() if tenant.id == found.id)
    return found


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _of_option(host: str) -> str:
    try:
        return normalise(host)
    except InvalidArgument as error:
        raise InvalidArgument.at("--host", f"{host!r} is not the name or address of a host") from error


def _not_a_host() -> InvalidArgument:
    return InvalidArgument.at("Host", "is not the name or address of a host")
