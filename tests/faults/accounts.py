"""Compare the answers of a server about every run of a finished play with the requests that the receiver saw."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.faults.scenario import Play, detail, post


async def accounts(play: Play) -> list[str]:
    """Compare the state and the receipt of every run with the expected ones and with what the receiver saw.

    Returns:
        One text for each problem.
    """
    problems: list[str] = []
    seen = Counter(request.headers["idempotency-key"] for request in play.requests())
    async with play.client() as http:
        shown = {name: await detail(http, run) for name, run in play.runs.items()}
        for name in ("six", "parent"):
            children = shown[name]["children"]
            if len(children) != 1:
                problems.append(f"{name} has {len(children)} children")
            shown |= {f"child of {name}": await detail(http, int(child["id"])) for child in children}
        known: set[str] = set()
        for name, run in shown.items():
            expected = "DONE" if name == "six" else "TERMINATE"
            if run["state"] != expected:
                problems.append(f"{name} is {run['state']}, and not {expected}")
            receipt = (await http.get(f"/interlock/v1/executions/{run['id']}/receipt")).json()
            problems += _untrue(name, run, receipt, seen)
            known |= {step["idempotencyKey"] for step in run["steps"] if step.get("idempotencyKey")}
        problems += [f"S3: the receiver knows {key}, and the server does not" for key in set(seen) - known]
        cause = shown["leased"].get("termination", {}).get("cause")
        if cause != "lease_expired":
            problems.append(f"the lease's end is shown as {cause}")
        verified = (await http.post("/interlock/v1/audit/actions/verify", json={})).json()
        if not verified["intact"]:
            problems.append(f"the audit record is broken: {verified}")
        for automation in ("six", "held"):
            found = await post(
                http,
                "/api/v1/search/automation_executions",
                {"automationTemplateId": play.baseline.automations[automation]},
            )
            if len(found["list"]) != 1:
                problems.append(f"{len(found['list'])} runs of {automation}, and one key")
    return problems


def _untrue(name: str, run: Any, receipt: Any, seen: Counter[str]) -> list[str]:
    """Check S9 and S10: the receipt of one terminal run against the requests that the receiver saw of it."""
    problems = []
    for step in run["steps"]:
        calls, outcome, attempts = seen[step.get("idempotencyKey", "")], step["outcome"], step["attempts"]
        may_have_called = sum(attempt["outcome"] != "INTERRUPTED_NOT_SENT" for attempt in attempts)
        if calls > may_have_called:
            problems.append(f"S9: {name}.{step['name']}: {calls} calls, and attempts {attempts}")
        if not step.get("idempotencyKey"):
            continue
        if outcome == "SUCCEEDED" and not calls:
            problems.append(f"S9: {name}.{step['name']} is shown as done, and the receiver was not called")
        if outcome in {"NOT_STARTED", "INTERRUPTED_NOT_SENT"} and calls:
            problems.append(f"S9: {name}.{step['name']} is {outcome}, and was called {calls} times")
        if [attempt["outcome"] for attempt in attempts[:-1]].count("SUCCEEDED"):
            problems.append(f"S4: {name}.{step['name']} was done and was done again")
    lists = ("done", "failed", "interrupted", "unknown", "neverStarted", "open")
    entries = [entry["step"] for which in lists for entry in receipt.get(which, ())]
    if sorted(entries) != sorted(step["name"] for step in run["steps"]):
        problems.append(f"S10: the receipt of {name} lists {entries}")
    if receipt.get("open"):
        problems.append(f"S10: the receipt of {name} leaves {receipt['open']} open")
    problems += [
        f"S9: the receipt of {name} says that the receiver was not called: {entry}"
        for entry in (*receipt.get("neverStarted", ()), *receipt.get("interrupted", ()))
        if entry["outcome"] in {"NOT_STARTED", "INTERRUPTED_NOT_SENT"} and seen[entry.get("idempotencyKey", "")]
    ]
    return problems
