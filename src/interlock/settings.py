"""What an operator sets: by option of `interlock serve`, or by an INTERLOCK_* variable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interlock.errors import InvalidArgument

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_SLOTS = 512
DEFAULT_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one server process."""

    data_dir: Path = Path(".interlock")
    listen: str = DEFAULT_LISTEN
    hosts: tuple[str, ...] = ()
    """Names, besides the loopback ones, that the default tenant answers to."""
    allow_egress: tuple[str, ...] = ()
    """HOST, address or CIDR, each with an optional port, that outbound requests may reach although it is private."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ca_file: Path | None = None
    """More certificate authorities that outbound requests trust."""
    public_url: str = ""
    """Where far ends reach this server, if that is not where it listens."""
    new_client: bool = False
    """Make another super admin at the start."""
    slots: int = DEFAULT_SLOTS
    """Attempts in flight at once."""
    slots_per_host: int = 0
    """Attempts in flight at once to one host, beside the fair share that always holds; 0: no such limit."""
    slots_per_tenant: int = 0
    """The same for one tenant."""
    grace: float = DEFAULT_GRACE
    """Seconds that attempts in flight are given at an orderly stop."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 takes a free one.

        Raises:
            InvalidArgument: `listen` is not HOST:PORT.
        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise InvalidArgument.at("--listen", "must be HOST:PORT, such as 127.0.0.1:8080")
        return host.strip("[]"), int(port)
