"""Those who use the server: they start, stop and read runs, and tell the oracle what they were answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from interlock.store.sqlite.execution_reads import IDEMPOTENCY_KEPT
from simulation.asgi import Answer
from simulation.coverage import Situation
from simulation.parts import World
from simulation.records import BulkOrder, Order, Started
from simulation.scenario import CLIENTS, SECOND, Action, Kind, Scenario
from simulation.server import Lost
from simulation.template import OTHER_HOST, client_name, tokens

EXECUTIONS: Final = "/api/v1/automation_executions"
OWN: Final = "/interlock/v1/executions"
TERMINATIONS: Final = "/interlock/v1/bulkTerminations"


@dataclass(slots=True)
class Clients:
    """All of them."""

    world: World
    automations: list[str] = field(default_factory=list)
    starts: dict[int, Started] = field(default_factory=dict)
    """By the number of the action."""
    orders: list[Order] = field(default_factory=list)
    bulks: list[BulkOrder] = field(default_factory=list)
    disabled_at: list[int] = field(default_factory=list)
    """When a client requested that the tenant's switch be turned."""
    deletions: dict[str, str] = field(default_factory=dict)
    """Automations that a client requested to delete with their runs, and the client."""
    cancellations: set[str] = field(default_factory=set)
    """Automations whose paused runs a client requested to cancel."""

    async def _ask(
        self, client: int, method: str, path: str, body: Any = None, *, patience: int | None = None, **headers: Any
    ) -> Answer:
        given = {"authorization": f"Bearer {tokens()[client]}", **headers}
        return await self.world.ask(method, path, body, patience=patience, **given)

    async def ask_as_admin(self, method: str, path: str, body: Any = None) -> Answer:
        return await self._ask(0, method, path, body)

    # --- before and after the faults ------------------------------------------------------------------------------

    async def provide(self, scenario: Scenario) -> None:
        """Create the automations, the last first: who starts another has to know its id."""
        ids: dict[str, str] = {}
        for number in reversed(range(len(scenario.automations))):
            text = json.dumps(scenario.automations[number])
            for name, id_ in ids.items():
                text = text.replace(f'"{name}"', f'"{id_}"')
            body: dict[str, Any] = {
                "displayName": f"automation {number}",
                "enabled": True,
                "automationSteps": json.loads(text),
            }
            if scenario.breakers[number]:
                body |= {
                    "circuitBreakerMax": scenario.breakers[number],
                    "circuitBreakerPeriod": "CIRCUIT_BREAKER_PERIOD_HOUR",
                }
            answer = await self._ask(0, "POST", "/api/v1/automations", body)
            assert answer.status == 200, answer.body
            ids[f"automation-{number}"] = answer.tree["automation"]["id"]
        self.automations = [ids[f"automation-{number}"] for number in range(len(scenario.automations))]

    async def tidy(self) -> None:
        """Undo what keeps runs from their end: the switch, and decisions that no client has made."""
        await self._ask(0, "POST", "/interlock/v1/settings", {"automationsDisabled": False})
        for automation in self.automations:
            path = f"/api/v1/automations/{automation}/circuit_breaker/clear"
            await self._ask(0, "POST", path, {"decision": "PAUSED_EXECUTION_DECISION_RUN", "reason": "tidy"})

    # --- one action -----------------------------------------------------------------------------------------------

    async def act(self, action: Action) -> None:
        try:
            await _DONE[action.kind](self, action)
        except Lost:
            self.world.note(f"{action}: no answer")

    def _execution(self, action: Action) -> int | None:
        started = self.starts.get(action.of) if action.of is not None else None
        return None if started is None else started.execution

    async def _start(self, action: Action) -> None:
        options = action.options
        automation = self.automations[options["automation"]]
        started = self.starts[action.number] = Started(automation, self.world.loop.microseconds)
        body: dict[str, Any] = {"context": {"context": {"number": action.number}}}
        headers = {}
        if "lease" in options:
            body["lease"], started.lease = options["lease"], True
        if "key" in options:
            body["context"] = {"context": {"key": options["key"]}}
            started.key = headers["idempotency_key"] = options["key"]
        # The same client, or the key would be another one.
        client = 0 if "key" in options else action.client
        answer = await self._ask(
            client,
            "POST",
            f"/api/v1/automations/{automation}/execute",
            body,
            patience=options.get("patience"),
            **headers,
        )
        started.answered_at = self.world.loop.microseconds
        self.world.note(f"{action}: {answer.status} {answer.body[:60].decode()}")
        if answer.status == 200:
            started.execution = int(answer.tree["executionId"])
            started.server_time = self.world.host.system.clock.now()
            self.world.oracle.started(started)
            first = self.starts.get(action.of) if action.of is not None else None
            if first is not None and first.execution is not None and first.key == started.key:
                self.world.saw(Situation.REPLAYED_START)
                # By the clock of the server, which jumps with the wall's at a restart, a key is kept for a day.
                known = abs(self.world.host.system.clock.now() - first.server_time) < IDEMPOTENCY_KEPT
                if known and first.execution != started.execution:
                    self.world.oracle.break_("S1", "one idempotency key started two runs")
        elif answer.status == 503 and "retry-after" in answer.headers:
            self.world.saw(Situation.START_REFUSED)

    async def _terminate(self, action: Action) -> None:
        execution = self._execution(action)
        if execution is None:
            return
        options = action.options
        order = Order(
            execution,
            client_name(action.client),
            f"order {action.number}",
            options.get("mode", "interrupt"),
            options.get("cascade", False),
            options.get("deadline", "10s"),
            self.world.loop.microseconds,
        )
        self.orders.append(order)
        body = {"reason": order.reason, "mode": order.mode, "cascade": order.cascade, "deadline": order.deadline}
        headers = {"prefer": f"wait={options['wait']}"} if "wait" in options else {}
        try:
            answer = await self._ask(
                action.client,
                "POST",
                f"{EXECUTIONS}/{execution}/actions/terminate",
                body,
                patience=options.get("patience"),
                **headers,
            )
        except Lost:
            self.world.saw(Situation.STOP_ANSWER_LOST)
            raise
        order.status, order.answered_at = answer.status, self.world.loop.microseconds
        verdict, _, rest = answer.headers.get("interlock-termination", "").partition(";")
        order.verdict, order.state = verdict.strip(), rest.strip().removeprefix("state=")
        self.world.note(f"{action}: {answer.status} {order.verdict} {order.state}")
        self.world.oracle.ordered(order, action.of)

    async def _read(self, action: Action) -> None:
        execution = self._execution(action)
        if execution is None:
            return
        asked_at, how = self.world.loop.microseconds, action.options["how"]
        client = action.client
        match how:
            case "c1":
                answer = await self._ask(client, "GET", f"{EXECUTIONS}/{execution}")
            case "detail":
                answer = await self._ask(client, "GET", f"{OWN}/{execution}")
            case "receipt":
                answer = await self._ask(client, "GET", f"{OWN}/{execution}/receipt")
            case "search":
                body = {"executionId": str(execution)}
                answer = await self._ask(client, "POST", "/api/v1/search/automation_executions", body)
            case _:
                answer = await self._ask(client, "GET", f"{EXECUTIONS}?page_size=100")
        self.world.oracle.read(execution, how, asked_at, answer)

    async def _bulk(self, action: Action) -> None:
        options = action.options
        reason = f"order {action.number}"
        narrowing: dict[str, Any] = {"allExecutions": True}
        if "automation" in options:
            narrowing = {"automationTemplateIds": [self.automations[options["automation"]]]}
        order = BulkOrder(client_name(action.client), reason, options["cascade"], self.world.loop.microseconds)
        plan = await self._ask(action.client, "POST", f"{TERMINATIONS}/plan", {"filter": narrowing})
        if plan.status != 200:
            return
        self.bulks.append(order)
        body = {
            "planId": plan.tree["id"],
            "reason": reason,
            "cascade": options["cascade"],
            "deadline": options["deadline"],
            "pauseAutomation": options.get("pause", False),
        }
        answer = await self._ask(action.client, "POST", TERMINATIONS, body)
        self.world.note(f"{action}: {answer.status}")
        if answer.status == 200 and "abort" in options:
            await self.world.sleep(options["abort"])
            path = f"{TERMINATIONS}/{answer.tree['bulkTermination']['id']}/actions/abort"
            await self._ask(action.client, "POST", path, {})

    async def _renew(self, action: Action) -> None:
        execution = self._execution(action)
        if execution is not None:
            await self._ask(action.client, "POST", f"{OWN}/{execution}/lease/actions/renew", {})

    async def _switch(self, action: Action) -> None:
        self.disabled_at.append(self.world.loop.microseconds)
        await self._ask(action.client, "POST", "/interlock/v1/settings", {"automationsDisabled": True})
        await self.world.sleep(action.options["for_"] * SECOND)
        await self._ask(action.client, "POST", "/interlock/v1/settings", {"automationsDisabled": False})

    async def _delete(self, action: Action) -> None:
        automation = self.automations[action.options["automation"]]
        if action.options["hard"]:
            self.deletions[automation] = client_name(action.client)
        body = {"terminateRunning": action.options["hard"]}
        await self._ask(action.client, "DELETE", f"/api/v1/automations/{automation}", body)

    async def _drop_hook(self, action: Action) -> None:
        await self._ask(action.client, "DELETE", "/api/v1/webhooks/hook", {})

    async def _release(self, action: Action) -> None:
        automation, cancel = self.automations[action.options["automation"]], action.options["hard"]
        if cancel:
            self.cancellations.add(automation)
        decision = f"PAUSED_EXECUTION_DECISION_{'CANCEL' if cancel else 'RUN'}"
        body = {"decision": decision, "reason": f"order {action.number}"}
        path = f"/api/v1/automations/{automation}/circuit_breaker/resolve_paused"
        await self._ask(action.client, "POST", path, body)

    async def _foreign(self, action: Action) -> None:
        """The other tenant's client must not be able to tell this run from one that does not exist."""
        execution = self._execution(action)
        if execution is None:
            return
        answers = []
        for id_ in (execution, 839_265):
            path = f"{EXECUTIONS}/{id_}/actions/terminate"
            answer = await self._ask(CLIENTS, "POST", path, {"cascade": True}, host=OTHER_HOST)
            answers.append((answer.status, answer.body))
        if 503 not in {status for status, _ in answers} and answers[0] != answers[1]:
            self.world.oracle.break_("S15", f"{answers}")


_DONE: Final = {
    Kind.START: Clients._start,
    Kind.TERMINATE: Clients._terminate,
    Kind.READ: Clients._read,
    Kind.BULK: Clients._bulk,
    Kind.RENEW: Clients._renew,
    Kind.SWITCH: Clients._switch,
    Kind.DELETE: Clients._delete,
    Kind.DROP_HOOK: Clients._drop_hook,
    Kind.RELEASE: Clients._release,
    Kind.FOREIGN: Clients._foreign,
}
