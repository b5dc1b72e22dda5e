"""The server under test: started, given its automations, and looked at from outside like any other."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.baselines import headers
from benchmarks.client import Address, Caller, Failed, Load, closed, request
from benchmarks.processes import Started, module, script
from benchmarks.report import ROOT

FOURTEEN_DAYS: Final = "1209600s"
NOT_OVER: Final = ["PENDING", "PROCESS_STEP", "WAITING", "CREATING", "GET_STEP", "COMPLETE_STEP"]
PATIENCE: Final = 120.0
"""Seconds within which runs have to have ended."""
LOOK: Final = 0.005
_PREFIX: Final = "AUTOMATION_EXECUTION_STATE_"


@dataclass(slots=True)
class Subject:
    """An Interlock server on a data directory of its own.

    Args:
        directory: for the data, the log and the ready file; emptied before the first start.
        without_network: use the server of benchmarks/server.py, whose outbound requests are answered at once without
            I/O. Otherwise it is `interlock serve`, as users start it.
        egress: what `interlock serve` may call.
        within: the command that runs the server, such as `unshare …`.
        tree: the checkout whose server runs; this one by default.
    """

    directory: Path
    without_network: bool = False
    egress: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    tree: Path = ROOT
    process: Started = field(init=False)
    token: str = ""
    _secret: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.start()

    def start(self) -> None:
        """Start the process; a second time it goes on with the data of the first."""
        arguments = ["--data-dir", str(self.directory / "data"), "--listen", "127.0.0.1:0"]
        if self.without_network:
            command = module("benchmarks.server", *arguments)
        else:
            permitted = [word for entry in self.egress for word in ("--allow-egress", entry)]
            command = script("interlock", "serve", *arguments, *permitted)
        self.process = Started([*self.within, *command], self.directory, self.tree)
        if self.process.told.get("client_secret"):
            self._secret = (self.process.told["client_id"], self.process.told["client_secret"])

    @property
    def address(self) -> Address:
        return self.process.address

    async def log_in(self) -> None:
        """Take a token; the profile's if the server does not name a new one."""
        client, secret = self._secret
        form = f"grant_type=client_credentials&client_id={_quoted(client)}&client_secret={_quoted(secret)}"
        fields = [
            ("Host", f"{self.address[0]}:{self.address[1]}"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]
        caller = Caller(self.address)
        status, body = await caller.send(request("POST", "/auth/v1/token", form.encode(), headers=fields))
        caller.close()
        if status != 200:
            raise Failed(f"no token: {status} {body.decode(errors='replace')}")
        self.token = json.loads(body)["access_token"]

    # --- requests ---------------------------------------------------------------------------------------------------

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        return [*headers(self.address, self.token), *more]

    def caller(self) -> Caller:
        return Caller(self.address, self.headers())

    def execute(self, automation: str) -> bytes:
        return execute(self.address, self.token, automation)

    def terminate(self, execution: str, *more: tuple[str, str]) -> bytes:
        path = f"/api/v1/automation_executions/{execution}/actions/terminate"
        return request("POST", path, b"{}", headers=self.headers(*more))

    # --- preparations -----------------------------------------------------------------------------------------------

    async def automation(self, name: str, steps: Sequence[object]) -> str:
        """Make and publish one; returns its id."""
        caller = self.caller()
        body = {"displayName": name, "enabled": True, "automationSteps": steps}
        made = await caller.call("POST", "/api/v1/automations", body)
        caller.close()
        return str(made["automation"]["id"])

    async def webhook(self, url: str) -> str:
        """Make an outbound webhook; returns its id."""
        caller = self.caller()
        made = await caller.call("POST", "/api/v1/webhooks", {"displayName": "receiver", "url": url})
        caller.close()
        return str(made["webhook"]["id"])

    async def three_webhooks(self, url: str) -> str:
        """Three calls, the later ones with what the first one answered."""
        webhook = await self.webhook(url)
        first = {"employee": "{{ ctx.trigger.employee }}"}
        later = {"employee": "{{ ctx.trigger.employee }}", "ticket": "{{ ctx.first.response.ticket }}"}
        payloads = {"first": first, "second": later, "third": later}
        return await self.automation(
            "Three webhooks",
            [{"stepName": name, "webhook": {"webhookId": webhook, "payload": p}} for name, p in payloads.items()],
        )

    async def three_expressions(self) -> str:
        expressions = {
            "first": '"INC-" + ctx.trigger.employee',
            "second": 'ctx.first.value + "!"',
            "third": 'ctx.second.value + "!"',
        }
        return await self.automation(
            "Three evaluations",
            [
                {"stepName": name, "evaluateExpressions": {"expressions": [{"key": "value", "expressionCel": cel}]}}
                for name, cel in expressions.items()
            ],
        )

    async def one_expression(self) -> str:
        expressions = [{"key": "value", "expressionCel": '"INC-" + ctx.trigger.employee'}]
        return await self.automation(
            "One evaluation", [{"stepName": "first", "evaluateExpressions": {"expressions": expressions}}]
        )

    async def long_wait(self) -> str:
        return await self.automation(
            "Two-week wait", [{"stepName": "grace", "waitForDuration": {"duration": FOURTEEN_DAYS}}]
        )

    async def start_many(self, automation: str, count: int, *, connections: int = 64) -> tuple[list[str], Load]:
        """Start `count` runs; returns their ids."""
        found: list[str] = []
        wire = self.execute(automation)
        load = await closed(
            self.address, (wire for _ in range(count)), connections=connections, answered=collect(found)
        )
        load.expect()
        if len(set(found)) != count:
            raise Failed(f"{count} runs were started, and {len(set(found))} ids came back")
        return found, load

    # --- looking ----------------------------------------------------------------------------------------------------

    async def unfinished(self, caller: Caller, automation: str, states: Sequence[str] = NOT_OVER) -> bool:
        """Whether any run of the automation is not at its end, or in one of these states."""
        body = {
            "automationTemplateId": automation,
            "executionStepStates": [_PREFIX + s for s in states],
            "pageSize": 1,
        }
        return bool((await caller.call("POST", "/api/v1/search/automation_executions", body))["list"])

    async def until_over(self, automation: str) -> None:
        """Look again until every run of the automation is at its end."""
        caller = self.caller()
        async with asyncio.timeout(PATIENCE):
            while await self.unfinished(caller, automation):
                await asyncio.sleep(LOOK)
        caller.close()

    async def states(self, automation: str) -> dict[str, int]:
        """How many runs of the automation stand in which state, over all pages."""
        caller = self.caller()
        counts: dict[str, int] = {}
        token = ""
        while True:
            body = {"automationTemplateId": automation, "pageSize": 100, "pageToken": token}
            page: dict[str, Any] = await caller.call("POST", "/api/v1/search/automation_executions", body)
            for shown in page["list"]:
                state = str(shown["automationExecution"]["state"]).removeprefix(_PREFIX)
                counts[state] = counts.get(state, 0) + 1
            token = page["nextPageToken"]
            if not token:
                caller.close()
                return counts


def execute(address: Address, token: str, automation: str) -> bytes:
    """The request that starts a run."""
    body = b'{"context":{"context":{"employee":"E-1042"}}}'
    return request("POST", f"/api/v1/automations/{automation}/execute", body, headers=headers(address, token))


def collect(ids: list[str]) -> Callable[[int, bytes], None]:
    """Takes the execution ids out of answers to execute."""

    def answered(status: int, body: bytes) -> None:
        if status == 200:
            ids.append(json.loads(body)["executionId"])

    return answered


def in_turn(wires: Sequence[bytes]) -> Iterator[bytes]:
    """The requests, over and over."""
    while True:
        yield from wires


def _quoted(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._~" else f"%{ord(letter):02X}" for letter in text)
