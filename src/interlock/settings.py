"""What an operator sets: by option of `interlock serve`, or by an INTERLOCK_* variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from interlock.errors import InvalidArgument

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_SLOTS = 512
DEFAULT_GRACE = 10.0
_EXAMPLE: Final = "https://interlock.example"
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class KindSetting:
    """A setting of one step kind, declared beside it: an option of `interlock serve` and a variable."""

    name: str
    """In lower case with underscores, such as `smtp_url`."""
    help: str
    metavar: str = "TEXT"
    required: bool = True
    """Without it the kind cannot run on a server."""

    @property
    def option(self) -> str:
        """The option of `interlock serve`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def usage(self) -> str:
        """How an operator sets it."""
        return f"{self.option} {self.metavar} (or INTERLOCK_{self.name.upper()})"


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
    """URL at which remotes reach this server, if it differs from the one that it listens on."""
    confirm_clock: str = ""
    """Today's date in UTC, where an operator has to say that the clock is right."""
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
    of_kinds: Mapping[str, str] = field(default_factory=dict)
    """The settings of step kinds, by `KindSetting.name`; one that was not given is missing."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 takes a free one.

        Raises:
            InvalidArgument: `listen` is not HOST:PORT.
        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise InvalidArgument.at("--listen", f"must be HOST:PORT, such as {DEFAULT_LISTEN}; got {self.listen!r}")
        return host.strip("[]"), int(port)

    @property
    def reached_at(self) -> str:
        """The public URL without a slash at its end; empty if none was given.

        Raises:
            InvalidArgument: `public_url` is not the URL of a server.
        """
        text = self.public_url
        if text and (wrong := _wrong_in_url(text)):
            raise InvalidArgument.at(
                "--public-url", f"{text!r} is not where a server is reached: {wrong}; use one like {_EXAMPLE}"
            )
        return text.rstrip("/")


def _wrong_in_url(text: str) -> str:
    """What is wrong with the URL of a server; empty if nothing is."""
    if not text.isprintable() or not text.isascii() or " " in text:
        return "it has a blank or another character that no URL has"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        return f"its host or port cannot be read ({error})"
    if parts.scheme not in ("http", "https"):
        return "the scheme must be http or https"
    if "@" in parts.netloc:
        return "it must not hold a user name or password"
    if not host:
        return "the host is missing"
    if "?" in text or "#" in text:
        return "it must not have a query or a fragment"
    if port == 0:
        return "its port is 0"
    if "[" not in parts.netloc and not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        return f"{host!r} is not the name or address of a host"
    if is_unspecified(host):
        return f"{host} is where a server listens, and leads a remote nowhere"
    return ""


def is_unspecified(host: str) -> bool:
    """Return whether the host is an unspecified address, such as 0.0.0.0 or ::."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
