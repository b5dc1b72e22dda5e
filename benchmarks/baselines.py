"""What this machine can do without Interlock: the least of HTTP, and the least of durability."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import apsw

from benchmarks.client import Address, Load, closed, request
from interlock.store.sqlite.connection import open_writer

ROW = b"x" * 120
TOKEN = "A" * 43


@dataclass(frozen=True, slots=True)
class Disk:
    """Per second, with the settings of the store (WAL, synchronous=FULL): `commits` of one row each, and `rows` in
    commits of 256."""

    commits: float
    rows: float


def disk(directory: Path, *, seconds: float = 1.0, samples: int = 3) -> Disk:
    """The medians of some samples, on the file system of the data directories."""
    path = directory / "baseline.db"
    connection = open_writer(str(path))
    connection.execute("CREATE TABLE IF NOT EXISTS baseline (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
    try:
        commits = [_rows_per_second(connection, 1, seconds) for _ in range(samples)]
        rows = [_rows_per_second(connection, 256, seconds) for _ in range(samples)]
    finally:
        connection.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    return Disk(median(commits), median(rows))


def _rows_per_second(connection: apsw.Connection, group: int, seconds: float) -> float:
    began, done = time.perf_counter(), 0
    while (now := time.perf_counter()) < began + seconds:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(group):
            connection.execute("INSERT INTO baseline (body) VALUES (?)", (ROW,))
        connection.execute("COMMIT")
        done += group
    rate = done / (now - began)
    # As the store has it: no commit that is timed pays for a checkpoint.
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    return rate


def headers(address: Address, token: str = TOKEN) -> list[tuple[str, str]]:
    """The headers of every request, to the baseline and to Interlock alike."""
    return [
        ("Host", f"{address[0]}:{address[1]}"),
        ("Authorization", f"Bearer {token}"),
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
    ]


async def http(address: Address, count: int) -> Load:
    """Terminates, as they are sent to Interlock, against the bare application."""
    path = "/api/v1/automation_executions/3714572034048000/actions/terminate"
    wire = request("POST", path, b"{}", headers=headers(address))
    return (await closed(address, itertools.repeat(wire, count))).expect()
