"""Explain why a server did not answer, by the error and by a probe of the other scheme."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from interlock.cli.failures import Exit, Failure, Unreachable, reason_of

_PROBE_SECONDS = 2.0
"""Seconds for the probe of the other scheme."""
_PROBE = b"GET /healthz HTTP/1.0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a server's URL. `base` is the prefix of every path."""

    url: str
    tls: bool
    host: str
    port: int
    base: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Parse the URL of a server.

        Raises:
            Failure: The text is not the URL of a server.
        """
        why = "it needs http:// or https://, a host and no query"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _not_a_url(url, reason_of(error)) from error
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
            raise _not_a_url(url, why)
        if not url.isprintable() or " " in url or not parts.path.isascii():
            raise _not_a_url(url, "it contains a character that is not permitted in a URL")
        try:
            host = host.encode("idna").decode()
        except UnicodeError as error:
            raise _not_a_url(url, f"{host[:80]!r} is not a host name") from error
        tls = parts.scheme == "https"
        return cls(url, tls, host, port if port is not None else 443 if tls else 80, parts.path.rstrip("/"))


def _not_a_url(url: str, why: str) -> Failure:
    hint = "Set CONDUCTORONE_SERVER_URL, or the url of the profile, to something like http://127.0.0.1:8080"
    return Failure(f"not the URL of a server: {url!r}: {why}", Exit.USAGE, hint=hint)


def unreachable(address: Address, error: Exception) -> Unreachable:
    """Return the failure for an error of a connection to the server."""
    url = address.url
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "If the certificate is the server's own, set SSL_CERT_FILE=path/to/cert.pem"
        return Unreachable(f"{url} is not trusted: {error.verify_message}", hint=hint, transient=False, sent=False)
    if isinstance(error, TimeoutError):
        hint = "Check the host, the firewall and the server's log."
        return Unreachable(f"no answer from {url} in time", Exit.TIMEOUT, hint=hint)
    if isinstance(error, socket.gaierror):
        again = error.errno == socket.EAI_AGAIN
        hint = f"Check the host in the URL: {address.host!r}"
        return Unreachable(f"cannot reach {url}: {reason_of(error)}", hint=hint, transient=again, sent=False)
    if isinstance(error, ConnectionRefusedError):
        hint = f"Nothing listens on port {address.port}. Check the port, or start a server: interlock serve"
        return Unreachable(f"cannot reach {url}: {reason_of(error)}", hint=hint, sent=False)
    if _other_scheme_answers(address):
        speaks, said = ("http", "https") if address.tls else ("https", "http")
        right = f"{speaks}://{url.partition('://')[2]}"
        hint = f"Set CONDUCTORONE_SERVER_URL, or the url of the profile, to {right}"
        message = f"cannot reach {url}: the server uses {speaks}, not {said}"
        return Unreachable(message, hint=hint, transient=False, sent=False)
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected):
        hint = f"Another service listens on port {address.port}. Check the URL."
        return Unreachable(f"cannot reach {url}: the answer is not HTTP", hint=hint)
    if isinstance(error, OSError):
        # Whether a close shows as a reset, a broken pipe or no bytes depends on timing and does not help the user.
        why = "the connection was closed without an answer" if isinstance(error, ConnectionError) else reason_of(error)
        return Unreachable(f"cannot reach {url}: {why}", hint="The server may be stopping or restarting. Try again.")
    return Unreachable(f"cannot reach {url}: {error}", hint="Check the URL.")


def _other_scheme_answers(address: Address) -> bool:
    """Return whether the port answers to https instead of http, or the other way round."""
    try:
        with socket.create_connection((address.host, address.port), _PROBE_SECONDS) as plain:
            plain.settimeout(_PROBE_SECONDS)
            if address.tls:
                plain.sendall(_PROBE)
                return plain.recv(5) == b"HTTP/"
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # no secret goes over it: it is closed at once
            with context.wrap_socket(plain, server_hostname=address.host):
                return True
    except OSError:
        return False
