"""HTTPS: who is at the far end is verified, by the name in the URL and the trusted authorities."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from interlock.net.egress import EgressPolicy
from interlock.net.http import GuardedHttp
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

    def server(self, host: str, until: datetime.datetime = VALID_UNTIL) -> ssl.SSLContext:
        """A server's context for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key, until)
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
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime.datetime = VALID_UNTIL
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(VALID_FROM)
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


@pytest.mark.parametrize("wrong", ["authority", "name", "date"])
async def test_any_other_is_refused_and_sees_nothing_of_the_request(authority: Authority, wrong: str) -> None:
    context = authority.server(
        "other.example" if wrong == "name" else "hooks.example",
        VALID_FROM + datetime.timedelta(days=1) if wrong == "date" else VALID_UNTIL,
    )
    async with (
        Receiver(tls=context, name="hooks.example") as receiver,
        client(None if wrong == "authority" else authority) as http,
    ):
        progress = Progress()
        with pytest.raises(HttpFailed) as failed:
            await http.send(post(receiver.url()), progress)
        assert failed.value.kind is HttpFailureKind.TLS
        assert failed.value.message == "no trusted TLS connection could be made"
        assert progress == Progress(Phase.TLS, 0, None)
        assert receiver.bytes_received == 0


async def test_a_far_end_that_does_not_speak_tls(authority: Authority) -> None:
    for behaviour in (Answer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),):
        async with Receiver(behaviour, name="hooks.example") as receiver, client(authority) as http:
            progress = Progress()
            task = asyncio.create_task(http.send(post(receiver.url().replace("http:", "https:")), progress))
            await receiver.got_bytes(1)
            receiver.connections[0].write(behaviour.encoded())
            with pytest.raises(HttpFailed) as failed:
                await task
            assert failed.value.kind is HttpFailureKind.TLS
            assert progress.bytes_written == 0


async def test_a_far_end_that_resets_the_handshake(authority: Authority) -> None:
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
