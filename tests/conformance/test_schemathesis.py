"""Our own document against a running server: thousands of requests made from it, and what comes back held against it.

Two checks are left out, because the contract itself is more lenient, and less, than a schema can say: in proto3's JSON
null stands for "not given" in every field (so what violates the schema is accepted), and what a schema permits may be
refused for what it means (a page token of another query, an automation that has not been published).
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.servers import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

EXAMPLES = os.environ.get("INTERLOCK_TEST_EXAMPLES", "150")
"""Of each operation, phase and seed."""
NOT_CHECKED = "negative_data_rejection,positive_data_acceptance"


PHASES = [("examples,coverage", 1), ("fuzzing", 1), ("fuzzing", 2), ("stateful", 1), ("stateful", 2)]
"""Phases and seeds; the first phases make nearly the same requests whatever the seed is."""


@pytest.mark.parametrize(("phases", "seed"), PHASES)
async def test_the_server_does_what_its_document_says(tmp_path: Path, phases: str, seed: int) -> None:
    async with ServerProcess(tmp_path) as server:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/openapi.json",
            f"--url={server.url}",
            f"--header=Authorization: Bearer {await server.token()}",
            f"--phases={phases}",
            f"--max-examples={EXAMPLES}",
            f"--exclude-checks={NOT_CHECKED}",
            # The stream of a run ends only with the run; tests/e2e/test_events.py covers it.
            "--exclude-operation-id=interlock.v1.FollowExecution",
            # More than the longest `Prefer: wait`.
            "--request-timeout=60",
            "--continue-on-failure",
            "--generation-database=none",
            f"--seed={seed}",
            "--no-color",
            "--workers=2",
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()[-20_000:]
        log = (tmp_path / "server.log").read_text()
    assert '"level": "error"' not in log, log[-5_000:]
