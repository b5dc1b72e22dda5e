"""HTTPS: the certificate of the remote is verified against the name in the URL and the trusted authorities."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock.net.egress import EgressPolicy
from interlock.net.http import GuardedHttp
from interlock.net.trust import tls_context, tls_fault
from interlock.ports import HttpFailed, HttpFailureKind, Phase, Progress
from tests.net.clients import Names, post
from tests.receivers import HANG, Answer, Receiver

pytestmark = pytest.mark.anyio

VALID_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
VALID_UNTIL = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """A certificate authority of its own, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(
        self, host: str, until: datetime.datetime = VALID_UNTIL, since: datetime.datetime = VALID_FROM
    ) -> ssl.SSLContext:
        """A server's context for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key, until, since)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        pem = self._folder / f"{host}.pem"
        pem.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        until: datetime.datetime = VALID_UNTIL,
        since: datetime.datetime = VALID_FROM,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )


@pytest.fixture(params=[pytest.param(True, id="uvloop"), pytest.param(False, id="asyncio")], scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def client(authority: Authority | None) -> GuardedHttp:
    return GuardedHttp(
        EgressPolicy.parse(["hooks.example"]),
        resolver=Names(hooks_example=[["127.0.0.1"]]),
        ca_file=None if authority is None else authority.file,
    )


async def test_a_certificate_of_a_trusted_authority_for_the_name_is_accepted(authority: Authority) -> None:
    async with (
        Receiver(Answer.json({"ok": 1}), tls=authority.server("hooks.example"), name="hooks.example") as receiver,
        client(authority) as http,
    ):
        for _ in range(2):
            progress = Progress()
            assert (await http.send(post(receiver.url("/x")), progress)).body == b'{"ok": 1}'
            assert progress.phase is Phase.DONE
        assert receiver.bytes_received == 2 * progress.bytes_written
        assert len(receiver.connections) == 1
        assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("authority", "its certificate is not signed by an authority that is trusted here; add the authority with"),
        ("name", "its certificate is for another name; check the host in the URL"),
        ("past", "its certificate has expired; ask its operator to renew it"),
        ("future", "its certificate is not valid yet; check the clock of this machine"),
    ],
)
async def test_any_other_is_refused_by_name_and_sees_nothing_of_the_request(
    authority: Authority, wrong: str, why: str
) -> None:
    context = authority.server(
        "other.example" if wrong == "name" else "hooks.example",
        VALID_FROM + datetime.timedelta(days=1) if wrong == "past" else VALID_UNTIL,
        VALID_UNTIL - datetime.timedelta(days=1) if wrong == "future" else VALID_FROM,
    )
    async with (
        Receiver(tls=context, name="hooks.example") as receiver,
        client(None if wrong == "authority" else authority) as http,
    ):
        progress = Progress()
        with pytest.raises(HttpFailed) as failed:
            await http.send(post(receiver.url()), progress)
        assert failed.value.kind is HttpFailureKind.TLS
        assert failed.value.message.startswith(f"no trusted TLS connection to hooks.example: {why}")
        assert progress == Progress(Phase.TLS, 0, None)
        assert receiver.bytes_received == 0


async def test_a_remote_that_does_not_speak_tls(authority: Authority) -> None:
    for behaviour in (Answer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),):
        async with Receiver(behaviour, name="hooks.example") as receiver, client(authority) as http:
            progress = Progress()
            task = asyncio.create_task(http.send(post(receiver.url().replace("http:", "https:")), progress))
            await receiver.got_bytes(1)
            receiver.connections[0].write(behaviour.encoded())
            with pytest.raises(HttpFailed) as failed:
                await task
            assert failed.value.kind is HttpFailureKind.TLS
            assert failed.value.message.endswith(
                "it does not speak TLS on this port; check the scheme and the port of the URL"
            )
            assert progress.bytes_written == 0


def fault(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLError | None:
    """How a handshake fails for the client, in memory: a loop's own server drops the alert that says why."""
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(here, there, server_hostname="hooks.example")
    theirs = server.wrap_bio(there, here, server_side=True)
    for _ in range(8):
        for side in (ours, theirs):
            try:
                side.do_handshake()
                side.read(1)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                pass
            except ssl.SSLError as failed:
                if side is ours:
                    return failed
    return None


def test_what_a_receiver_lacks_is_named(authority: Authority) -> None:
    def changed(change: Callable[[ssl.SSLContext], None]) -> str:
        context = authority.server("hooks.example")
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            change(context)
        return tls_fault("hooks.example", fault(context, tls_context(authority.file)))

    def old(context: ssl.SSLContext) -> None:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    def other_ciphers(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA:@SECLEVEL=0")

    def wants_certificate(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.file)

    assert "it offers no TLS version from 1.2 on; ask its operator" in changed(old)
    assert "it has no cipher in common with this server; ask its operator" in changed(other_ciphers)
    assert "it asks for a client certificate, and Interlock sends none; ask" in changed(wants_certificate)
    assert "it closed the connection during the TLS handshake; check the port" in tls_fault("hooks.example", None)


async def test_a_remote_that_resets_the_handshake(authority: Authority) -> None:
    async with Receiver(name="hooks.example") as receiver, client(authority) as http:
        progress = Progress()
        task = asyncio.create_task(http.send(post(receiver.url().replace("http:", "https:")), progress))
        await receiver.got_bytes(1)
        receiver.connections[0].reset()
        with pytest.raises(HttpFailed) as failed:
            await task
        assert failed.value.kind is HttpFailureKind.TLS
        assert progress.bytes_written == 0


async def test_an_interrupt_is_seen_at_once_through_tls_too(authority: Authority) -> None:
    async with (
        Receiver(HANG, tls=authority.server("hooks.example"), name="hooks.example") as receiver,
        client(authority) as http,
    ):
        progress = Progress()
        task = asyncio.create_task(http.send(post(receiver.url()), progress))
        await receiver.received(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await receiver.closed(0)
        assert progress == Progress(Phase.WAITING, receiver.bytes_received, None)


async def test_an_interrupted_upload_through_tls_counts_no_less_than_arrived(authority: Authority) -> None:
    size = 32_000_000
    async with (
        Receiver(tls=authority.server("hooks.example"), name="hooks.example", stalled=True) as receiver,
        client(authority) as http,
    ):
        progress = Progress()
        task = asyncio.create_task(http.send(post(receiver.url(), b"x" * size), progress))
        await receiver.connected(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        receiver.resume()
        await receiver.closed(0)
        assert receiver.bytes_received <= progress.bytes_written < size


async def test_addresses_of_a_name_are_tried_in_turn(authority: Authority) -> None:
    answers: Sequence[Sequence[str]] = [["127.0.0.9", "127.0.0.1"]]
    async with Receiver(Answer(), name="hooks.example") as receiver:
        http = GuardedHttp(EgressPolicy.parse(["hooks.example"]), resolver=Names(hooks_example=answers))
        async with http:
            assert (await http.send(post(receiver.url()), Progress())).status == 200
