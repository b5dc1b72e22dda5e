"""Host names and their addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

MAX_ADDRESSES: Final = 64
"""Addresses of one name that are looked at; a name with more is not called."""
LOOKUP_THREADS: Final = 16
"""Names that are looked up at once."""


class Resolver(Protocol):
    """Finds the addresses of a host name. Raises OSError if it has none."""

    async def resolve(self, host: str, port: int) -> Sequence[str]: ...


class SystemResolver:
    """The machine's own resolver, in threads of its own: a slow name server must not hold up other work in threads."""

    def __init__(self, threads: int = LOOKUP_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="interlock-dns")

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host, port)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


def in_turn(addresses: Sequence[str]) -> list[str]:
    """The addresses as they are to be tried: in the order given, but IPv6 and IPv4 alternating."""
    first: list[str] = []
    second: list[str] = []
    for address in addresses:
        (first if (":" in address) == (":" in addresses[0]) else second).append(address)
    found: list[str] = []
    for number in range(max(len(first), len(second))):
        found += first[number : number + 1] + second[number : number + 1]
    return found
