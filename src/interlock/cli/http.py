"""An API client with the standard library only: one connection and one token per command."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from interlock.cli.clock import Clock, WallClock
from interlock.cli.failures import Exit, Failure, Refused
from interlock.cli.profile import Profile
from interlock.cli.refusals import EXITS, about, named, retry_after_seconds, token_refused, told
from interlock.cli.retrying import Retrying
from interlock.cli.terminal import tell
from interlock.cli.unreachable import Address, unreachable

TIMEOUT = 60.0
"""Seconds without a byte from the server after which a call fails; more than the longest `Prefer: wait`."""

PAGE_ROWS = 100
"""Rows of a page: the maximum of the API."""

_EVENT_STREAM = "text/event-stream"
_MIN_TIMEOUT_SECONDS = 0.001
"""Shortest timeout of a socket; 0 would make it non-blocking."""
_TOKEN_PATH = "/auth/v1/token"


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer. Header names are in lower case."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes = b""
    """The raw body."""


class Api:
    """Calls the server of a profile; the first call that needs a token requests it.

    `retrying` decides how long a busy server is retried.
    """

    def __init__(self, profile: Profile, clock: Clock | None = None) -> None:
        self._profile = profile
        self._address = Address.of(profile.url)
        self._make = http.client.HTTPSConnection if self._address.tls else http.client.HTTPConnection
        self._connection = self._make(self._address.host, self._address.port, timeout=TIMEOUT)
        self._token: str | None = None
        self.retrying = Retrying(clock or WallClock(), tell)
        self.has_acted = False
        """Whether this command has changed something on the server."""
        self.is_acting = False
        """Whether a changing request is in progress: its effect is unknown."""

    @property
    def url(self) -> str:
        """URL of the server."""
        return self._profile.url

    def close(self) -> None:
        """Close the connection; a later call opens it again."""
        self._connection.close()

    def token(self) -> dict[str, Any]:
        """Exchange the credentials for a bearer token, and return the server's reply with its `access_token`.

        Raises:
            Failure: the server is not reachable, or does not accept the credentials.
        """
        return self.retrying.call(self._new_token, repeatable=True)

    def _new_token(self) -> dict[str, Any]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._profile.client_id,
            "client_secret": self._profile.client_secret,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        data = urlencode(form, errors="surrogateescape").encode()
        status, received, raw = self._send("POST", _TOKEN_PATH, data, headers, repeatable=True)
        reply = _object(raw)
        if status != 200 or not isinstance(reply.get("access_token"), str):
            raise token_refused(self._profile, status, received, reply)
        return reply

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        reads: bool = False,
    ) -> Reply:
        """Call an operation.

        Args:
            method: The HTTP method; a GET reads.
            path: Path and query.
            body: What to send as JSON.
            headers: More headers.
            repeatable: Whether the call may be repeated without a further effect.
            reads: Whether a call that is not a GET changes nothing.

        Raises:
            Failure: the server is not reachable, or refused; the exit code says which kind of refusal.
        """
        if reads or method == "GET":
            return self.retrying.call(lambda: self._call(method, path, body, headers, repeatable), repeatable=True)
        self.is_acting = True
        try:
            reply = self.retrying.call(
                lambda: self._call(method, path, body, headers, repeatable), repeatable=repeatable
            )
        except Failure:
            self.is_acting = False
            raise
        self.is_acting, self.has_acted = False, True
        return reply

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        repeatable: bool,
    ) -> Reply:
        sent = {"Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        for authorization in self._authorizations():
            status, received, raw = self._send(method, path, data, {**authorization, **sent}, repeatable=repeatable)
            if status != 401:
                break
        if status != 200:
            raise self._refused(method, path, status, received, raw)
        return Reply(_object(raw), received, raw)

    def lines(self, path: str, headers: Mapping[str, str], silence: Callable[[], float]) -> Iterator[str]:
        """Yield the lines of an event stream, over a connection of its own, until the server ends it.

        Args:
            path: Path and query.
            headers: More headers.
            silence: Returns the longest time without a line, in seconds; called before each line.

        Raises:
            Refused: There is no such stream (406 if the answer is not a stream).
            Unreachable: The server is unreachable, the connection failed, or no line arrived in time.
        """
        sent = {"Accept": _EVENT_STREAM, **headers}
        patience = max(_MIN_TIMEOUT_SECONDS, silence())
        with (
            self._reaching(),
            closing(self._make(self._address.host, self._address.port, timeout=patience)) as connection,
        ):
            for authorization in self._authorizations():
                connection.request("GET", self._address.base + path, headers={**authorization, **sent})
                # The connection drops its socket if the server announces that it will close it.
                sock = connection.sock
                response = connection.getresponse()
                if response.status != 401:
                    break
                connection.close()
            if response.status != 200:
                received = {name.lower(): value for name, value in response.getheaders()}
                raise self._refused("GET", path, response.status, received, response.read())
            if response.headers.get_content_type() != _EVENT_STREAM:
                raise Refused("the answer is not an event stream", Exit.ERROR, 406)
            while True:
                sock.settimeout(max(_MIN_TIMEOUT_SECONDS, silence()))
                line = response.readline()
                if not line:
                    return
                yield line.decode("utf-8", "replace").rstrip("\r\n")

    def _authorizations(self) -> Iterator[dict[str, str]]:
        """Yield the header of a call, and then one with a new token: a command may outlive the first token."""
        known = self._token
        if known is not None:
            yield {"Authorization": f"Bearer {known}"}
        self._token = str(self._new_token()["access_token"])
        yield {"Authorization": f"Bearer {self._token}"}

    def pages(self, method: str, path: str, key: str, body: Mapping[str, Any], limit: int) -> Iterator[dict[str, Any]]:
        """Yield `limit` rows (0: all) under `key` of a paged list.

        A POST has the page token in its body, a GET in its query.
        """
        for row, _ in self.rows_of_pages(method, path, key, body, limit):
            yield row

    def rows_of_pages(
        self, method: str, path: str, key: str, body: Mapping[str, Any], limit: int
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield rows as `pages` does, each with its page, to which the row may refer."""
        token, given = "", 0
        while True:
            size = min(PAGE_ROWS, limit - given) if limit else PAGE_ROWS
            if method == "POST":
                reply = self.call(method, path, {**body, "pageSize": size, "pageToken": token}, reads=True)
            else:
                reply = self.call(method, f"{path}?{urlencode({'page_size': size, 'page_token': token})}")
            for row in reply.body.get(key) or ():
                yield row, reply.body
                given += 1
                if given == limit:
                    return
            previous, token = token, reply.body.get("nextPageToken") or ""
            if not token:
                return
            if token == previous:
                raise Failure(f"{path} returned the same page twice")

    def _send(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], *, repeatable: bool
    ) -> tuple[int, dict[str, str], bytes]:
        # The server may have closed a kept connection, which shows only at its next use.
        kept = self._connection.sock is not None
        if kept and not repeatable:
            self._connection.close()
            kept = False
        with self._reaching():
            try:
                return self._exchange(method, path, data, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if not kept:
                    raise
                return self._exchange(method, path, data, headers)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            raise unreachable(self._address, error) from error

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            self._connection.request(method, self._address.base + path, body=data, headers=dict(headers))
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException):
            # The connection still waits for this answer and would accept no further request.
            self._connection.close()
            raise
        return response.status, {name.lower(): value for name, value in response.getheaders()}, raw

    def _refused(self, method: str, path: str, status: int, headers: Mapping[str, str], raw: bytes) -> Refused:
        what, hint = named(path)
        why = told(_object(raw))
        if not why:
            what, why = what or f"{method} {path}", http.client.responses.get(status, "no reason given")
        if not raw.lstrip().startswith(b"{"):
            hint = f"The answer of {self.url} is not from this API. Check the URL and the port."
        return Refused(
            about(what, why) if what else why,
            EXITS.get(status, Exit.ERROR),
            status,
            hint=hint if status == 404 else "",
            retry_after=retry_after_seconds(headers),
        )


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
