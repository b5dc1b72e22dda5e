"""Files that the command line reads: missing, unreadable, damaged, or not what they should be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.cli.documents import MAX_DOCUMENT_BYTES, parse
from interlock.cli.failures import Exit, Failure
from interlock.cli.profile import MAX_PROFILE_BYTES, find_profile, read_profile, url_of_client
from tests.cli.conftest import CommandLine, Server, ok

WRITE_ONLY = Path("/proc/sys/vm/drop_caches")
"""Not readable for anyone, root included."""

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n", "it is empty"),
    "cut off": (b'{"url": "http://x"', "line 1, column 19"),
    "two lines": (b'{\n  "a" 1}', "line 2, column 7"),
    "not UTF-8": (b'{"a": "\xff"}', "byte 0xff at offset 7"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "deep": (b"[" * 60_000, "too deeply"),
    "a bare word": (b"nonsense", "line 1, column 1"),
    "a huge number": (b'{"url": ' + b"9" * 5_000 + b"}", "digits"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_profile_says_what_is_wrong_and_what_to_do(name: str, tmp_path: Path, interlock: CommandLine) -> None:
    content, why = BROKEN[name]
    path = tmp_path / "p.json"
    path.write_bytes(content)
    result = interlock("--profile", str(path), "automations", "list", environ={})
    assert result.exit_code == Exit.AUTH
    assert str(path) in result.stderr
    assert why in result.stderr
    assert "--new-client" in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("command", [["automations", "apply"], ["automations", "run", "a1", "--context"]])
def test_a_broken_document_says_what_is_wrong_and_where(
    command: list[str], name: str, tmp_path: Path, server: Server, interlock: CommandLine
) -> None:
    content, why = BROKEN[name]
    path = tmp_path / "d.json"
    path.write_bytes(content)
    argument = f"@{path}" if command[-1] == "--context" else str(path)
    result = interlock(*command, argument)
    assert result.exit_code == Exit.USAGE
    assert str(path) in result.stderr
    assert why in result.stderr
    assert not server.calls


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing.json", "No such file or directory"),
        (".", "Is a directory"),
        ("file/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        (str(WRITE_ONLY), "Permission denied"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    path: str, why: str, tmp_path: Path, interlock: CommandLine
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for arguments in (["automations", "apply", path], ["automations", "run", "a", "--context", f"@{path}"]):
        result = interlock(*arguments)
        assert result.exit_code == Exit.USAGE, arguments
        assert why in result.stderr
        assert path in result.stderr
        assert "[Errno" not in result.stderr
    result = interlock("automations", "list", environ={"INTERLOCK_PROFILE": path})
    assert result.exit_code == Exit.AUTH
    assert why in result.stderr or "No such file" in result.stderr
    assert "[Errno" not in result.stderr


def test_what_is_no_regular_file_is_no_profile_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    keep = os.open(tmp_path / "fifo", os.O_RDWR)
    try:
        with pytest.raises(Failure, match="not a regular file"):
            read_profile(tmp_path / "fifo")
    finally:
        os.close(keep)


def test_files_without_an_end_are_read_to_their_limit(tmp_path: Path, interlock: CommandLine) -> None:
    with pytest.raises(Failure, match="not a regular file"):
        read_profile(Path("/dev/zero"))
    (tmp_path / "big.json").write_bytes(b" " * (MAX_PROFILE_BYTES + 1))
    with pytest.raises(Failure, match="larger than"):
        read_profile(tmp_path / "big.json")
    result = interlock("automations", "apply", "/dev/zero")
    assert result.exit_code == Exit.USAGE
    assert str(MAX_DOCUMENT_BYTES) in result.stderr


@pytest.mark.parametrize("where", ["file", "file/x"])
def test_a_directory_that_is_a_file_holds_no_profile(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    environ = {"INTERLOCK_DATA_DIR": str(tmp_path / where), "XDG_CONFIG_HOME": str(tmp_path / where)}
    with pytest.raises(Failure, match="no credentials"):
        find_profile(environ)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["url", "client_id", "client_secret"]) | st.text(max_size=3), inner
    ), max_leaves=6).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_profile_is_read_or_refused_in_words(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(content)
    refused = None
    try:
        profile = read_profile(path)
    except Failure as failure:
        refused = failure
    if refused is None:
        assert all((profile.url, profile.client_id, profile.client_secret))
    else:
        assert refused.code is Exit.AUTH
        assert "any.json" in refused.message


@given(st.text(max_size=40) | st.recursive(st.just("1e999") | st.just("9" * 5_000) | st.just("NaN"), lambda inner: inner.map("[{}]".format)))  # noqa: E501  # fmt: skip
def test_any_document_is_read_or_refused_in_words(text: str) -> None:
    refused = None
    try:
        value = parse(text, "d.json")
    except Failure as failure:
        refused = failure
    if refused is None:
        json.dumps(value, allow_nan=False)
    else:
        assert refused.code is Exit.USAGE
        assert refused.message.startswith("d.json: ")


@pytest.mark.parametrize(
    ("url", "client", "expected"),
    [
        ("http://127.0.0.1:8080", "a@acme.test/spc", "http://acme.test:8080"),
        ("http://127.0.0.1:8080", "a@acme.test:9090/spc", "http://acme.test:9090"),
        ("https://main.test", "a@acme.test/spc", "https://acme.test"),
        ("https://main.test/base", "a@acme.test/spc", "https://acme.test/base"),
        ("https://main.test", "a@[::1]:8443/spc", "https://[::1]:8443"),
        ("http://localhost:8080", "a@localhost/spc", "http://localhost:8080"),
        ("http://localhost:8080", "nonsense", "http://localhost:8080"),
    ],
)
def test_the_url_of_a_saved_profile_is_where_its_client_calls(url: str, client: str, expected: str) -> None:
    assert url_of_client(url, client) == expected


def test_a_tenants_profile_is_saved_with_its_own_url(server: Server, interlock: CommandLine, tmp_path: Path) -> None:
    made = {"client": {"id": "a@acme.test/spc"}, "clientSecret": "s", "tenant": {"name": "acme"}}
    server.on("POST", "/interlock/v1/tenants", ok(made))
    server.on("POST", "/interlock/v1/clients", ok({"client": {"id": "b@127.0.0.1/spc"}, "clientSecret": "s"}))
    port = server.url.rpartition(":")[2]
    result = interlock("tenants", "create", "acme", "--host", "acme.test", "--save", "acme.json")
    assert result.exit_code == Exit.OK
    assert read_profile(tmp_path / "acme.json").url == f"http://acme.test:{port}"
    assert "s" not in json.loads(result.stdout)["clientSecret"]
    interlock("clients", "create", "--role", "basic", "--save", "own.json")
    assert read_profile(tmp_path / "own.json").url == server.url


@pytest.mark.parametrize("save", ["missing/p.json", ".", "file/p.json"])
def test_a_secret_that_could_not_be_saved_is_not_asked_for(
    save: str, server: Server, interlock: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    result = interlock("clients", "create", "--role", "basic", "--save", save)
    assert result.exit_code == Exit.USAGE
    assert not server.calls
