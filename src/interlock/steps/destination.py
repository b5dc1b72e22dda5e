"""The destination of a call, as slots are shared by it."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from interlock.net.egress import authority


@lru_cache(maxsize=4_096)
def host_of(url: str) -> str | None:
    """Return the host and port of a URL, without the port that its scheme implies; None if it names no host."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    return authority(parts.scheme, host, port) if host else None
