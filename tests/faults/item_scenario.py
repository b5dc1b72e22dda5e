"""The scenario of steps with items: two that run to their end, and three that are terminated in the middle.

`mail` and `chat` end by themselves; the receiver refuses one item of `mail` once, so that it is retried. `cut` and
`silent` are terminated while the receiver holds the answer to their second item, and `drained` is given the time to
perform all its items. `chat` and `silent` are of the kind that sends no keys and must not be repeated.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2

from simulation.recipients import CALL, message
from tests.faults.facts import in_state, stopped
from tests.faults.scenario import LEASE, OVER, Baseline, Play, Refused, Scene, detail, post, until
from tests.receivers import Answer, Held, Received
from tests.servers import LOOK, PATIENCE

ITEMS = 3
HELD = 1
"""The item of the terminated runs whose answer is held, and the one of `mail` that is refused once."""
TERMINATED = ("cut", "silent", "drained")
UNREPEATABLE = frozenset({"chat", "silent"})
LISTS = ("done", "failed", "interrupted", "unknown", "neverStarted", "open")
NOTHING_SENT = frozenset({"NOT_STARTED", "INTERRUPTED_NOT_SENT"})
IN_DOUBT = frozenset({"ABANDONED", "INTERRUPTED_OUTCOME_UNKNOWN"})


class ItemBaseline(Baseline):
    """A data directory with the automations whose steps have items."""

    async def play(self, directory: Path, *, lease: float = LEASE) -> ItemPlay:
        made = await super().play(directory, lease=lease)
        return ItemPlay(self, made.server, made.seen_before, made.runs)

    async def _prepare(self, http: httpx2.AsyncClient) -> None:
        refused: set[str] = set()

        def once_refused(request: Received) -> Answer:
            again = request.headers["idempotency-key"] in refused
            refused.add(request.headers["idempotency-key"])
            return Answer(200 if again else 503)

        for name in ("mail", "chat", *TERMINATED):
            addresses = [f"127.0.0.1:{self.receiver.port}/{name}/{number}" for number in range(ITEMS)]
            kind = "sendSlackMessage" if name in UNREPEATABLE else "sendEmail"
            extra = {"channelName": "all"} if name in UNREPEATABLE else {}
            step = {"stepName": "tell", kind: {**message(addresses, tolerant=False), **extra}}
            body = {"displayName": name, "enabled": True, "automationSteps": [step]}
            self.automations[name] = (await post(http, "/api/v1/automations", body))["automation"]["id"]
            if name in TERMINATED:
                self.receiver.on(f"/{name}/{HELD}", Held())
        self.receiver.on(f"/mail/{HELD}", once_refused)


class ItemPlay(Play):
    """One play of the scenario with items."""

    @property
    def scenes(self) -> Sequence[Scene]:
        return ITEM_SCENES

    def execution_of(self, request: Received) -> int:
        return int(request.headers[CALL.lower()].split(":")[0])

    def calls(self) -> dict[int, list[Received]]:
        """Return the requests of this play by run, in the order in which they arrived."""
        found: dict[int, list[Received]] = defaultdict(list)
        for request in self.requests():
            found[self.execution_of(request)].append(request)
        return found

    def may_have_ended(self, name: str) -> bool:
        """Whether a crash may have ended the run: a lost attempt that must not be repeated ends it in doubt."""
        return name in UNREPEATABLE and bool(self.kills)

    async def start_all(self, http: httpx2.AsyncClient) -> None:
        for name in ("mail", "chat", *TERMINATED):
            await self._start(http, name)

    async def wait_for_held(self, http: httpx2.AsyncClient) -> None:
        for name in TERMINATED:
            async with asyncio.timeout(PATIENCE):
                while not self._received(f"{name}/{HELD}"):
                    if (await detail(http, self.runs[name]))["state"] in OVER:
                        assert self.may_have_ended(name), f"{name} ended before it was stopped"
                        break
                    await asyncio.sleep(LOOK)

    async def terminate_all(self, http: httpx2.AsyncClient) -> None:
        for name in TERMINATED:
            mode = {"mode": "drain", "deadline": f"{PATIENCE}s"} if name == "drained" else {}
            path = f"/api/v1/automation_executions/{self.runs[name]}/actions/terminate"
            answer = await http.post(path, json={"reason": f"stop {name}", **mode})
            if answer.status_code != 200:
                raise Refused(answer)
            state = answer.headers["interlock-termination"].partition("; state=")[2]
            if state == "ERROR":
                assert self.may_have_ended(name), f"{name} ended before it was stopped"
                self.learn(in_state(self.runs[name], state), changed=True)
                continue
            self.learn(stopped(self.runs[name], f"stop {name}"), changed=True)
            self.silenced.add(self.runs[name])
            if state in OVER:
                self.learn(in_state(self.runs[name], state))

    async def release(self, http: httpx2.AsyncClient) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await detail(http, self.runs["drained"]))["state"] != "TERMINATE":
                self.baseline.receiver.release()
                await asyncio.sleep(LOOK)

    async def end_all(self, http: httpx2.AsyncClient) -> None:
        await until(http, self.runs["mail"], "DONE")
        for name in ("mail", "chat", *TERMINATED):
            async with asyncio.timeout(PATIENCE):
                while (state := (await detail(http, self.runs[name]))["state"]) not in OVER:
                    await asyncio.sleep(LOOK)
            self.learn(in_state(self.runs[name], state))


ITEM_SCENES: tuple[Scene, ...] = (
    ItemPlay.start_all,
    ItemPlay.wait_for_held,
    ItemPlay.terminate_all,
    ItemPlay.release,
    ItemPlay.end_all,
)


async def item_accounts(play: ItemPlay) -> list[str]:
    """Compare the state, the attempts and the receipt of every run with what the receiver saw.

    Returns:
        One text for each problem.
    """
    problems = [f"I2: {item} was on record, and was performed again" for item in _performed_again(play)]
    calls = play.calls()
    async with play.client() as http:
        for name, run in play.runs.items():
            shown = await detail(http, run)
            receipt = (await http.get(f"/interlock/v1/executions/{run}/receipt")).json()
            found = [
                *_wrong_state(play, name, shown["state"]),
                *_wrong_attempts(name, shown, calls[run]),
                *_untrue_receipt(receipt, calls[run]),
            ]
            problems += [f"{name}: {problem}" for problem in found]
        verified = (await http.post("/interlock/v1/audit/actions/verify", json={})).json()
        if not verified["intact"]:
            problems.append(f"the audit record is broken: {verified}")
    problems += [f"S3: the receiver knows {run}, and the server does not" for run in {*calls} - {*play.runs.values()}]
    return problems


def _performed_again(play: ItemPlay) -> Iterator[tuple[int, str]]:
    """Yield the items that the receiver saw although their outcome was on record when a process was killed."""
    for kill in play.kills:
        for request in play.requests()[kill.requests :]:
            item = play.execution_of(request), _name(request)
            if item in kill.look.items:
                yield item


def _wrong_state(play: ItemPlay, name: str, state: str) -> Iterator[str]:
    expected = {"TERMINATE" if name in TERMINATED else "DONE"}
    if play.may_have_ended(name):
        expected = {"TERMINATE"} if play.runs[name] in play.silenced else {*expected, "ERROR"}
    if state not in expected:
        yield f"is {state}, and not {expected}"


def _wrong_attempts(name: str, run: Any, calls: Sequence[Received]) -> Iterator[str]:
    """Check I1 and I4: the receiver saw the items of each attempt in order, those on record and at most one more."""
    pattern = ""
    attempts = [attempt for step in run["steps"] for attempt in step["attempts"]]
    for attempt in attempts:
        for item in attempt["items"]:
            if item["outcome"] not in NOTHING_SENT:
                pattern += f"(?:{re.escape(item['name'])} ){'?' if item['outcome'] in IN_DOUBT else ''}"
    seen = [_name(request) for request in calls]
    if not re.fullmatch(pattern, "".join(f"{item} " for item in seen)):
        yield f"I1: the receiver saw {seen}, and the attempts are {attempts}"
    if name in UNREPEATABLE and len(set(seen)) < len(seen):
        yield f"I4: the receiver saw {seen}"
    if name in UNREPEATABLE and len(attempts) > 1:
        yield f"I4: it has {len(attempts)} attempts"


def _untrue_receipt(receipt: Any, calls: Sequence[Received]) -> Iterator[str]:
    """Check S9 and S10: each item is in one list of the receipt, and the receiver saw what it says."""
    entries = {which: receipt.get(which) or [] for which in LISTS}
    every = [entry for listed in entries.values() for entry in listed]
    announced = [entry["item"] for entry in every]
    if len(announced) != ITEMS or len(set(announced)) != ITEMS:
        yield f"S10: the receipt lists {announced}"
    if entries["open"]:
        yield f"S10: the receipt leaves {entries['open']} open"
    for entry in every:
        made = [request for request in calls if _name(request) == entry["item"]]
        if entry["outcome"] in NOTHING_SENT and made:
            yield f"S9: {len(made)} calls, and the receipt says {entry}"
        if entry["outcome"] in {"SUCCEEDED", "FAILED"} and not made:
            yield f"S9: no call, and the receipt says {entry}"
        if len(made) > entry["attempts"]:
            yield f"S9: {len(made)} calls, and the receipt says {entry}"
        keys = {request.headers.get("idempotency-key", "") for request in made}
        if keys - {entry["idempotencyKey"]}:
            yield f"S9: sent with the keys {keys}, and the receipt says {entry}"
    known = {entry["item"] for entry in every}
    yield from (f"S9: the receiver saw {_name(request)}" for request in calls if _name(request) not in known)


def _name(request: Received) -> str:
    """The item that a request was made for."""
    return request.headers[CALL.lower()].split(":", 2)[2]
