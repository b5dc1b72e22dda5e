"""Every failure says what happened, why, and what to do next, with the value that was wrong."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock.cli.failures import Exit
from tests.cli.conftest import CommandLine, Server, refusal


def certificate(directory: Path) -> Path:
    """A certificate of its own for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path = directory / "cert.pem"
    path.write_bytes(made.public_bytes(form) + key.private_bytes(form, serialization.PrivateFormat.PKCS8, plain))
    return path


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection is given to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                connection, _ = listener.accept()
                with connection:
                    try:
                        serve(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            over.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    with listening(serve) as port:
        yield port


def said(interlock: CommandLine, url: str, *command: str) -> tuple[int, str]:
    result = interlock(*(command or ("token",)), environ={**interlock.environ, "CONDUCTORONE_SERVER_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "[Errno" not in result.stderr
    assert result.stderr.startswith("Error: ")
    assert not result.stdout
    return result.exit_code, result.stderr


def test_http_against_https_names_the_right_url(tls_port: int, interlock: CommandLine) -> None:
    code, text = said(interlock, f"http://127.0.0.1:{tls_port}")
    assert code == Exit.ERROR
    assert "the server uses https, not http" in text
    assert f"https://127.0.0.1:{tls_port}" in text
    assert "Is it running" not in text


def test_https_against_http_names_the_right_url(server: Server, interlock: CommandLine) -> None:
    code, text = said(interlock, server.url.replace("http://", "https://"))
    assert code == Exit.ERROR
    assert "the server uses http, not https" in text
    assert f"to {server.url}" in text


def test_the_wrong_scheme_is_not_tried_again_for_a_stop(tls_port: int, interlock: CommandLine) -> None:
    code, text = said(interlock, f"http://127.0.0.1:{tls_port}", "executions", "terminate", "7")
    assert (code, interlock.clock.slept) == (Exit.ERROR, [])
    assert "uses https" in text


def test_a_certificate_that_is_not_trusted_says_how_to_trust_it(tls_port: int, interlock: CommandLine) -> None:
    code, text = said(interlock, f"https://127.0.0.1:{tls_port}")
    assert code == Exit.ERROR
    assert "is not trusted" in text
    assert "SSL_CERT_FILE" in text


def test_another_protocol_on_the_port_is_told(interlock: CommandLine) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    with listening(serve) as port:
        code, text = said(interlock, f"http://127.0.0.1:{port}")
    assert code == Exit.ERROR
    assert f"port {port}" in text
    assert "not HTTP" in text


def test_another_server_on_the_port_is_told(server: Server, interlock: CommandLine) -> None:
    server.on("POST", "/auth/v1/token", (404, {"Content-Type": "text/html"}, "<h1>Not Found</h1>"))
    code, text = said(interlock, server.url)
    assert code == Exit.ERROR
    assert server.url in text
    assert "Check the URL and the port." in text


def test_a_server_that_hangs_up_is_told(interlock: CommandLine) -> None:
    with listening(lambda connection: None) as port:
        code, text = said(interlock, f"http://127.0.0.1:{port}")
    assert code == Exit.ERROR
    assert "closed without an answer" in text


def test_a_host_that_is_not_there_is_named(interlock: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for command in (("token",), ("executions", "terminate", "7")):
        code, text = said(interlock, "http://no-such-host.example:80", *command)
        assert (code, interlock.clock.slept) == (Exit.ERROR, [])
        assert "Name or service not known" in text
        assert "'no-such-host.example'" in text


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "http://", "http://127.0.0.1:x", "http://a b", "http://h/?q=1", "http://u:p@h", "http://h:99999",
     "http://h/é", "http://[::1", "http://h\n", "http://é..x", "https://" + "a" * 300],
)  # fmt: skip
def test_what_is_no_url_is_shown_with_the_reason(url: str, interlock: CommandLine) -> None:
    code, text = said(interlock, url)
    assert code in (Exit.USAGE, Exit.ERROR)
    assert "http://127.0.0.1:8080" in text or "Check the" in text


@pytest.mark.parametrize(
    ("command", "noun", "listed"),
    [
        ("executions get 7", "execution 7", "executions list"),
        ("executions receipt 7", "execution 7", "executions list"),
        ("executions terminate 7", "execution 7", "executions list"),
        ("executions renew 7", "execution 7", "executions list"),
        ("bulk-terminations watch t1", "bulk termination t1", "bulk-terminations list"),
        ("bulk-terminations abort t1", "bulk termination t1", "bulk-terminations list"),
        ("clients revoke a@b/spc", "client a@b/spc", "clients list"),
        ("tenants revoke acme", "tenant acme", "tenants list"),
        ("automations get nope", "no automation has the id or the name 'nope'", "automations list"),
        ("automations run nope", "no automation has the id or the name 'nope'", "automations list"),
    ],
)
def test_what_is_not_found_is_named_with_where_to_look(
    command: str, noun: str, listed: str, server: Server, interlock: CommandLine
) -> None:
    server.on("POST", "/api/v1/search/automations", (200, {}, {"list": []}))
    code, text = said(interlock, server.url, *command.split())
    assert code == Exit.NOT_FOUND
    assert noun in text
    assert f"interlock {listed}" in text


def test_every_field_that_was_wrong_is_told_once(server: Server, interlock: CommandLine) -> None:
    details = [{"fieldViolations": [{"field": "a", "description": "is long"}, {"field": "b", "description": "is odd"}]}]
    body = {"code": 3, "message": "a: is long", "details": [*details, 7, {"fieldViolations": [None, 3]}]}
    server.on("GET", "/interlock/v1/settings", (400, {}, body))
    code, text = said(interlock, server.url, "settings", "get")
    assert code == Exit.ERROR
    assert text.count("is long") == 1
    assert "b: is odd" in text


def test_an_unknown_state_is_shown_with_those_there_are(server: Server, interlock: CommandLine) -> None:
    code, text = said(interlock, server.url, "executions", "list", "--state", "RUNNING")
    assert code == Exit.USAGE
    assert "unknown state 'RUNNING'" in text
    assert "WAITING" in text
    assert not server.calls


@pytest.mark.parametrize("command", [("list",), ("terminate", "--reason", "x", "--plan")])
def test_stopping_is_answered_with_the_state_that_shows_it(
    command: tuple[str, ...], server: Server, interlock: CommandLine
) -> None:
    code, text = said(interlock, server.url, "executions", *command, "--state", "stopping")
    assert code == Exit.USAGE
    assert "use --state PROCESS_STEP" in text
    assert not server.calls


@pytest.mark.parametrize("key", ["a\nb", "é", "", " ", "x" * 256, "\udcff"])
def test_a_key_that_no_header_can_carry_is_refused_here(key: str, server: Server, interlock: CommandLine) -> None:
    code, text = said(interlock, server.url, "automations", "run", "a1", "--idempotency-key", key)
    assert code == Exit.USAGE
    assert "--idempotency-key" in text


def test_a_plain_refusal_keeps_the_servers_words(server: Server, interlock: CommandLine) -> None:
    server.on("GET", "/interlock/v1/settings", refusal(403, "your role does not allow this"))
    assert said(interlock, server.url, "settings", "get") == (
        Exit.AUTH,
        "Error: your role does not allow this (status 403)\n",
    )
