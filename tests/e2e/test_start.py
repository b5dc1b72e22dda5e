"""A server that cannot start says why in one line; one that can says what it lacks."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import apsw
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.e2e.given import automation, call, detail, execute, until, webhook
from tests.receivers import Answer, Receiver
from tests.servers import PATIENCE, ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]


async def refused(directory: Path, *options: str, code: int = 1) -> str:
    """What `interlock serve` says when it ends by itself with an error, with this exit code."""
    command = [str(Path(sys.executable).with_name("interlock")), "serve", "--data-dir", str(directory / "data")]
    process = await asyncio.create_subprocess_exec(
        *command, *options, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        _, errors = await process.communicate()
    text = errors.decode()
    assert process.returncode == code, text
    assert "Traceback" not in text
    return text


def pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    hidden = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden)


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    began = datetime(2025, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, began, began + timedelta(days=36_500))
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pem(OTHER), "the key does not match the certificate"),
        (pem(KEY, b"secret"), "the key is encrypted"),
        (b"nonsense", "one of them is not a PEM file"),
        (b"", "one of them is not a PEM file"),
    ],
    ids=["of another certificate", "encrypted", "nonsense", "empty"],
)
async def test_key_that_cannot_be_used_is_told_in_a_line(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "cert.pem").write_bytes(certificate(KEY))
    (tmp_path / "key.pem").write_bytes(content)
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    text = await refused(tmp_path, "--listen", "127.0.0.1:0", *options, code=2)
    assert why in text
    assert "--tls-key" in text
    assert text.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--listen", "nonsense"), 2, "must be HOST:PORT, such as 127.0.0.1:8080; got 'nonsense'"),
        (("--listen", "a..b:80"), 1, "cannot listen on a..b:80"),
        (("--listen", "127.0.0.1:99999"), 2, "must be HOST:PORT"),
        (("--listen", "192.0.2.1:0"), 1, "cannot listen on 192.0.2.1:0: Cannot assign requested address"),
        (("--listen", "127.0.0.1:0", "--public-url", "nonsense here"), 2, "--public-url: 'nonsense here' is not where"),
        (("--listen", "127.0.0.1:0", "--host", "a b"), 2, "--host: 'a b' is not the name or address of a host"),
        (("--listen", "127.0.0.1:0", "--allow-egress", "10.0.0.0/33"), 2, "10.0.0.0/33"),
    ],
)
async def test_setting_that_makes_no_sense_is_told_in_a_line(
    tmp_path: Path, options: tuple[str, ...], code: int, why: str
) -> None:
    text = await refused(tmp_path, *options, code=code)
    assert why in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("linked", ["data", "data/lock", "data/interlock.db"])
async def test_symbolic_link_in_the_way_is_named(tmp_path: Path, linked: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    (tmp_path / linked).symlink_to(tmp_path / "real" if linked == "data" else tmp_path / "real" / "file")
    text = await refused(tmp_path, "--listen", "127.0.0.1:0")
    assert f"{tmp_path / linked} is a symbolic link; give the path that it leads to" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b"\xff", b'{"url": 1}'])
async def test_damaged_profile_keeps_no_server_from_starting(tmp_path: Path, content: bytes) -> None:
    async with ServerProcess(tmp_path) as server:
        await server.stop()
        profile = tmp_path / "data" / "profile.json"
        profile.write_bytes(content)
        await server.start()
        async with await server.api() as api:
            assert (await api.get("/readyz")).status_code == 200
        # It may be the only copy of a secret, and an operator can still repair it by hand.
        assert profile.read_bytes() == content
        assert "profile" in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize("table", ["migrations", "tenants", "clients", "settings"])
async def test_damaged_page_is_told_in_a_line(tmp_path: Path, table: str) -> None:
    async with ServerProcess(tmp_path) as server:
        await server.stop()
    file = tmp_path / "data" / "interlock.db"
    with closing(apsw.Connection(str(file))) as database:
        statement = "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?"
        page, size = cast(tuple[int, int], database.execute(statement, (table,)).fetchone())
    with file.open("r+b") as content:
        content.seek((page - 1) * size)
        content.write(b"\xff" * size)
    text = await refused(tmp_path, "--listen", "127.0.0.1:0")
    assert "interlock: the " in text


async def test_wildcard_address_is_never_given_to_a_remote(tmp_path: Path, receiver: Receiver) -> None:
    receiver.then(Answer(202))
    egress = [f"127.0.0.1:{receiver.port}"]
    async with ServerProcess(tmp_path, egress=egress, listen="0.0.0.0:0") as server, await server.api() as api:
        assert server.url.startswith("http://127.0.0.1:")
        execution = await execute(api, await automation(api, "ask", call("ask", await webhook(api, receiver))))
        await until(api, execution, "ERROR")
        assert "webhook-callback-url" not in receiver.requests[0].headers
        assert receiver.requests[0].json()["callbackUrl"] == ""
        assert "CALLBACK_URL_UNKNOWN" in json.dumps(await detail(api, execution))
    log = (tmp_path / "server.log").read_text()
    assert "no callback URL is known" in log
    assert "set --public-url" in log


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--host", "interlock.example"], "http://interlock.example:"),
        (["--host", "interlock.example", "--public-url", "https://public.example/x/"], "https://public.example/x/api/"),
    ],
)
async def test_name_of_the_server_is_given_to_remotes(
    tmp_path: Path, receiver: Receiver, options: list[str], expected: str
) -> None:
    egress = [f"127.0.0.1:{receiver.port}"]
    made = ServerProcess(tmp_path, egress=egress, listen="0.0.0.0:0", options=options)
    async with made as server, await server.api() as api:
        execution = await execute(api, await automation(api, "ask", call("ask", await webhook(api, receiver))))
        await until(api, execution, "DONE")
        assert receiver.requests[0].headers["webhook-callback-url"].startswith(expected)
    assert "no callback URL is known" not in (tmp_path / "server.log").read_text()
