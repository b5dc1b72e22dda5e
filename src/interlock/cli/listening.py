"""The address that a server listens on: binding it, and asking what answers there."""

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final

from interlock.cli.failures import reason_of

PROBE_SECONDS: Final = 5.0
"""Seconds for the answer of a server; one that is busy answers `/readyz` within milliseconds."""
MAX_PROBE_BYTES: Final = 65_536
"""Bytes that are read of an answer to the probe."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of a server to `/readyz`. `status` is ready, degraded or not ready."""

    status: str
    reasons: dict[str, str]


class AnotherService(Exception):
    """The answer at an address is not that of Interlock; the message says why."""


def authority_of(host: str, port: int) -> str:
    """Return the host and port at which a server that listens there is reached on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to the address and does not listen yet.

    Raises:
        OSError: The address is in use, is not of this machine, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def readiness_at(host: str, port: int, *, tls: bool) -> Readiness:
    """Ask the server that listens at an address of this machine for its readiness.

    Args:
        host: The host to listen on; an unspecified address is reached at the loopback one.
        port: The port.
        tls: Whether the server speaks https. Its certificate is not verified: no secret is sent.

    Raises:
        AnotherService: The address does not answer as Interlock does.
    """
    connection = _connection(authority_of(host, port), tls=tls)
    try:
        connection.request("GET", "/readyz", headers={"Accept": "application/json", "Connection": "close"})
        response = connection.getresponse()
        return _readiness(response.status, response.read(MAX_PROBE_BYTES))
    except TimeoutError as error:
        raise AnotherService(f"no answer within {PROBE_SECONDS:g} s") from error
    except ConnectionRefusedError as error:
        raise AnotherService(reason_of(error)) from error
    except (http.client.HTTPException, OSError) as error:
        raise AnotherService(f"the answer is not {'https' if tls else 'http'}") from error
    finally:
        connection.close()


def _connection(authority: str, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(authority, timeout=PROBE_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(authority, timeout=PROBE_SECONDS, context=context)


def _readiness(status: int, body: bytes) -> Readiness:
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if status in (200, 503) and isinstance(found, dict):
        said, reasons = found.get("status"), found.get("reasons")
        if isinstance(said, str) and isinstance(reasons, dict):
            return Readiness(said, {str(name): str(reason) for name, reason in reasons.items()})
    raise AnotherService(f"its answer to /readyz (status {status}) is not that of Interlock")
