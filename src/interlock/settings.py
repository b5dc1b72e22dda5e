"""What an operator sets: by option, or by an INTERLOCK_* variable."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from interlock.errors import InvalidArgument

DEFAULT_LISTEN = "127.0.0.1:8080"


class Settings(BaseSettings):
    """The settings of one server process."""

    model_config = SettingsConfigDict(env_prefix="INTERLOCK_", extra="ignore", frozen=True)

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
    slots: int = 512
    """Attempts in flight at once."""
    grace: float = 10.0
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
