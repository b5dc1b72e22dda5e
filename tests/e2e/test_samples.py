"""The samples of the pages, run as they stand against a real server: curl, Python, and our own command line."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from interlock.operations.operation import Operation
from interlock.operations.table import OPERATIONS
from tests.e2e import given
from tests.receivers import HANG, Receiver
from tests.servers import ServerProcess
from tools.pages.build import DOCS
from tools.pages.samples import Sample, samples, short_name, variables

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

RUN = {"curl", "Python", "Interlock's command line"}
CASES = [
    pytest.param(operation, sample, id=f"{short_name(operation)}-{sample.label}")
    for operation in OPERATIONS
    for sample in samples(operation)
    if sample.label in RUN
]
WAIT = {"stepName": "grace", "waitForDuration": {"duration": "1209600s"}}
NAMED_ANEW = {"interlock.CreateTenant"}
"""What can be made once only: the name and the host are changed for each sample."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(HANG) as receiver:
        yield receiver


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[ServerProcess]:
    async with ServerProcess(tmp_path_factory.mktemp("samples"), egress=[f"127.0.0.1:{receiver.port}"]) as server:
        yield server


async def in_doubt(api: httpx2.AsyncClient, receiver: Receiver) -> int:
    """Stop a run while the receiver has not answered its call, and return its id."""
    calling = await given.automation(api, "calling", given.call("create_account", await given.webhook(api, receiver)))
    before = len(receiver.requests)
    execution = await given.execute(api, calling)
    await receiver.received(before + 1)
    await given.terminate(api, execution)
    await given.until(api, execution, "TERMINATE")
    return execution


async def ids(api: httpx2.AsyncClient, receiver: Receiver, operation: Operation, sample: Sample) -> dict[str, str]:
    """What the sample takes from the environment, made anew."""
    wanted = {*variables(operation).values(), *(["AUTOMATION_ID"] if "AUTOMATION_ID" in sample.source else [])}
    found: dict[str, str] = {}
    if wanted & {"AUTOMATION_ID", "EXECUTION_ID", "BULK_TERMINATION_ID"} or "/bulkTerminations" in operation.path:
        body = {"displayName": f"{short_name(operation)} {sample.label}", "automationSteps": [WAIT]}
        found["AUTOMATION_ID"] = (await api.post("/api/v1/automations", json=body)).json()["automation"]["id"]
    if "EXECUTION_ID" in wanted or "/bulkTerminations" in operation.path:
        body = {"lease": "600s"} if "/lease/" in operation.path else {}
        started = await api.post(f"/api/v1/automations/{found['AUTOMATION_ID']}/execute", json=body)
        found["EXECUTION_ID"] = started.json()["executionId"]
    if operation.path.endswith("/addenda"):
        found["EXECUTION_ID"] = str(await in_doubt(api, receiver))
    if operation.path.endswith("/events"):
        # The stream of a run ends only with the run.
        await api.post(f"/api/v1/automation_executions/{found['EXECUTION_ID']}/actions/terminate", json={})
    if "BULK_TERMINATION_ID" in wanted:
        body = {"executionIds": [found["EXECUTION_ID"]]}
        made = await api.post("/interlock/v1/bulkTerminations", json=body)
        found["BULK_TERMINATION_ID"] = made.json()["bulkTermination"]["id"]
    if "WEBHOOK_ID" in wanted:
        body = {"displayName": "receiver", "url": "https://far.example/hook"}
        found["WEBHOOK_ID"] = (await api.post("/api/v1/webhooks", json=body)).json()["webhook"]["id"]
    if "CLIENT_ID" in wanted:
        made = await api.post("/interlock/v1/clients", json={"roles": ["read_only"]})
        found["CLIENT_ID"] = made.json()["client"]["id"]
    if "TENANT_NAME" in wanted:
        name = f"tenant-{abs(hash(sample)) % 10**9}"
        await api.post("/interlock/v1/tenants", json={"name": name, "hosts": [f"{name}.example"]})
        found["TENANT_NAME"] = name
    return found


@pytest.mark.parametrize(("operation", "sample"), CASES)
async def test_a_sample_works_as_it_stands(
    server: ServerProcess, receiver: Receiver, tmp_path: Path, operation: Operation, sample: Sample
) -> None:
    async with await server.api() as api:
        environment = {**as_client(server, tmp_path), **await ids(api, receiver, operation, sample)}
    source = sample.source
    if short_name(operation) in NAMED_ANEW:
        source = source.replace("acme", f"acme-{sample.label.lower().split()[0].replace(chr(39), '')}")
    await run(sample.language, source, environment, tmp_path)


PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GUIDES = [
    pytest.param(source, id=f"{path.stem}-{number}")
    for path in sorted(DOCS.glob("*.md"))
    for number, source in enumerate(PYTHON.findall(path.read_text("utf-8")))
]


@pytest.mark.parametrize("source", GUIDES)
async def test_the_python_of_a_guide_works_as_it_stands(server: ServerProcess, tmp_path: Path, source: str) -> None:
    await run("python", source, as_client(server, tmp_path), tmp_path)


def as_client(server: ServerProcess, home: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "CONDUCTORONE_SERVER_URL": server.url,
        "CONDUCTORONE_CLIENT_ID": server.client_id,
        "CONDUCTORONE_CLIENT_SECRET": server.client_secret,
    }


async def run(language: str, source: str, environment: dict[str, str], directory: Path) -> None:
    command = [sys.executable, "-c", source] if language == "python" else ["bash", "-euc", source]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, f"{source}\n{said.decode()}\n{complained.decode()}"
