"""`interlock backup`: a real data directory, copied, checked, restored and released."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from interlock.cli.failures import Exit
from tests.cli.conftest import CommandLine, Server, lines
from tests.store.stores import opened, world


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def made() -> None:
        async with opened(tmp_path / "data") as store:
            await (await world(store)).in_flight()

    asyncio.run(made())
    return tmp_path / "data"


def test_a_backup_goes_round(data: Path, tmp_path: Path, server: Server, interlock: CommandLine) -> None:
    file, restored = tmp_path / "monday.db", tmp_path / "restored"
    [made] = lines(interlock("backup", "create", str(file), "--data-dir", str(data)))
    assert (made["executions"], made["unfinished"]) == (1, 1)
    assert lines(interlock("backup", "verify", str(file))) == [made]
    assert interlock("backup", "restore", str(file), "--data-dir", str(restored)).exit_code == Exit.OK
    assert json.loads((restored / "frozen.json").read_text()) == {"backup": str(file)}
    [open_] = lines(interlock("backup", "attempts", "--data-dir", str(restored)))
    assert (open_["execution"], open_["state"]) == ("1", "PROCESS_STEP")
    refused = interlock("backup", "release", "--data-dir", str(restored), person=True, stdin="n\n")
    assert refused.exit_code == Exit.ERROR
    assert interlock("backup", "release", "--data-dir", str(restored)).exit_code == Exit.OK
    assert interlock("backup", "release", "--data-dir", str(restored)).exit_code == Exit.NOT_FOUND


def test_what_cannot_be_done_is_said(data: Path, tmp_path: Path, server: Server, interlock: CommandLine) -> None:
    assert interlock("backup", "create", "x.db", "--data-dir", str(tmp_path / "no")).exit_code == Exit.NOT_FOUND
    assert interlock("backup", "verify", str(tmp_path / "no.db")).exit_code == Exit.NOT_FOUND
    (tmp_path / "bad.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 9_000)
    damaged = interlock("backup", "verify", str(tmp_path / "bad.db"))
    assert damaged.exit_code == Exit.ERROR
    assert "damaged" in damaged.stderr
