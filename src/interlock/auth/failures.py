"""How often an address may fail to authenticate before its failures are slowed down.

Only failures are ever slowed down or refused. A caller with correct credentials gets a token whatever other callers at
its address, or with its client id, have done: a lock-out would keep it from stopping a run.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address, ip_address
from typing import Final

MOST: Final = 20
"""Failures within a window."""
WINDOW: Final = 60 * 1_000_000
"""Microseconds."""
_ADDRESSES: Final = 10_000
_V6_NETWORK: Final = 64


class Failures:
    """Failures of the last minute, by address; an IPv6 address counts with its whole /64, which one caller has."""

    def __init__(self, most: int = MOST, window: int = WINDOW) -> None:
        self._most = most
        self._window = window
        self._times: dict[str, deque[int]] = {}

    def wait(self, address: str, now: int) -> int:
        """Whole seconds until a failure of this address is answered at once again; 0 if it is now."""
        times = self._times.get(caller_group(address))
        if times is None:
            return 0
        while times and times[0] <= now - self._window:
            times.popleft()
        if len(times) < self._most:
            return 0
        return -((now - self._window - times[0]) // 1_000_000)

    def add(self, address: str, now: int) -> None:
        """Count a failure."""
        group = caller_group(address)
        # Taken out and put in again, so that the first of the dict is the one that has been quiet for longest.
        times = self._times.pop(group, None) or deque(maxlen=self._most)
        times.append(now)
        self._times[group] = times
        if len(self._times) > _ADDRESSES:
            del self._times[next(iter(self._times))]


def caller_group(address: str) -> str:
    """What one caller has for itself: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - _V6_NETWORK):x}/64"
