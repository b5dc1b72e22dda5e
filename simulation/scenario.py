"""What a seed stands for: automations, what clients do when, and which faults the machine has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any, Final

from simulation.recipients import message

MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
CLIENTS: Final = 3
"""Of the tenant whose runs are ordered about; the other tenant has one."""
HOOK: Final = "hook"
NAMES: Final = ("ann", "bob", "cid", "dee")
"""Recipients of messages."""


class Group(StrEnum):
    """Faults that are switched on or off together, so that none hides another in every seed."""

    KILLS = "kills"
    POWER = "power"
    DISK = "disk"
    NETWORK = "network"
    CLOCK = "clock"
    LOAD = "load"
    ADMIN = "admin"
    CLIENTS = "clients"


class Kind(StrEnum):
    """Everything that can be done to the system, by clients and by the machine."""

    START = "start"
    TERMINATE = "terminate"
    READ = "read"
    BULK = "bulk"
    RENEW = "renew"
    SWITCH = "switch"
    DELETE = "delete"
    DROP_HOOK = "drop hook"
    RELEASE = "release"
    FOREIGN = "foreign"
    KILL = "kill"
    POWER_CUT = "power cut"
    STRIKE = "strike"
    """At some operation of the disk soon: the power fails, or it reports an error."""
    ORDERLY = "orderly stop"
    SECOND_SERVER = "second server"
    JUMP = "clock jump"
    STALL = "stall"
    FULL = "disk full"
    SLOW = "slow disk"


MACHINE: Final = frozenset(
    {
        Kind.KILL,
        Kind.POWER_CUT,
        Kind.STRIKE,
        Kind.ORDERLY,
        Kind.SECOND_SERVER,
        Kind.JUMP,
        Kind.STALL,
        Kind.FULL,
        Kind.SLOW,
    }
)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done `at` a time (microseconds from the beginning). `of` is the action that it refers to."""

    number: int
    at: int
    kind: Kind
    client: int = 0
    of: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        of = "" if self.of is None else f" of {self.of}"
        options = "".join(f" {name}={value}" for name, value in self.options.items())
        return f"{self.number}: {self.kind}{of} by {self.client}{options}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One small life of a server."""

    seed: int
    groups: frozenset[Group]
    automations: tuple[tuple[dict[str, Any], ...], ...]
    """The steps of each; one that starts another starts a later one, so that there are no circles."""
    breakers: tuple[int, ...]
    """Runs an hour that each permits; 0: any number."""
    actions: tuple[Action, ...]

    def without(self, numbers: frozenset[int]) -> Scenario:
        return replace(self, actions=tuple(action for action in self.actions if action.number not in numbers))


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = Random(f"scenario {seed}")
    # A tenth of all seeds has no faults: what goes wrong there goes wrong by itself.
    calm = chance.random() < 0.1
    groups = frozenset() if calm else frozenset(group for group in Group if chance.random() < 0.45)
    count = chance.randint(2, 4)
    # The numbers of the messages are their own: what a seed does beside them is what it did before there were any.
    messages = Random(f"messages {seed}")
    automations = tuple(_with_messages(messages, _steps(chance, number, count)) for number in range(count))
    breakers = tuple(
        chance.choice((2, 3, 4)) if Group.ADMIN in groups and chance.random() < 0.25 else 0 for _ in automations
    )
    return Scenario(seed, groups, automations, breakers, tuple(_actions(chance, groups, count)))


def _steps(chance: Random, number: int, count: int) -> tuple[dict[str, Any], ...]:
    steps: list[dict[str, Any]] = []
    for position in range(chance.choice((1, 2, 2, 3, 3, 4, 6))):
        name = f"s{position}"
        kinds = ["webhook"] * 5 + ["wait", "evaluate"] + (["child"] * 2 if number + 1 < count else [])
        kind = chance.choice(kinds)
        step: dict[str, Any] = {"stepName": name}
        if kind == "webhook":
            step["webhook"] = {"webhookId": HOOK, "payload": {"n": position}}
        elif kind == "wait":
            step["waitForDuration"] = {"duration": chance.choice(("1s", "3s", "20s", "86400s"))}
        elif kind == "evaluate":
            called = [before["stepName"] for before in steps if "webhook" in before]
            read = f"ctx.{chance.choice(called)}.response.n" if called and chance.random() < 0.6 else "1 + 1"
            step["evaluateExpressions"] = {"expressions": [{"key": "two", "expressionCel": read}]}
        else:
            target = chance.randrange(number + 1, count)
            step["runAutomation"] = {"automationTemplateRef": {"id": f"automation-{target}"}}
        if chance.random() < 0.1:
            step["skipIfTrueCel"] = chance.choice(("true", "false"))
        steps.append(step)
    return tuple(steps)


def _with_messages(chance: Random, steps: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """The steps of an automation, some of its calls replaced by messages to several recipients."""
    if chance.random() < 0.7:
        return steps
    return tuple(_message(chance, step) if "webhook" in step and chance.random() < 0.5 else step for step in steps)


def _message(chance: Random, step: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in step.items() if name != "webhook"}
    kind = chance.choice(("sendEmail", "sendEmail", "sendSlackMessage"))
    names = NAMES[: chance.choice((1, 2, 3, 3, 4))]
    return {**kept, kind: message(names, tolerant=chance.random() < 0.4)}


def _actions(chance: Random, groups: frozenset[Group], automations: int) -> list[Action]:
    actions: list[Action] = []
    end = chance.choice((5, 20, 60)) * SECOND

    def add(at: int, kind: Kind, of: int | None = None, **options: Any) -> int:
        # Coarse times, so that much falls together.
        at = at // MILLISECOND * MILLISECOND
        actions.append(Action(len(actions), at, kind, chance.randrange(CLIENTS), of, options))
        return len(actions) - 1

    bursts = Group.LOAD in groups
    for _ in range(chance.randint(5, 14)):
        at = chance.choice((chance.randrange(end), chance.randrange(SECOND))) if bursts else chance.randrange(end)
        _a_run(chance, groups, automations, at, add)
    if chance.random() < 0.4:
        at = chance.randrange(end)
        add(at, Kind.BULK, **_narrowing(chance, automations))
    if Group.ADMIN in groups:
        for _ in range(chance.randint(1, 3)):
            kind = chance.choice((Kind.SWITCH, Kind.DELETE, Kind.DROP_HOOK, Kind.RELEASE, Kind.RELEASE))
            automation = chance.randrange(automations)
            add(
                chance.randrange(end),
                kind,
                automation=automation,
                hard=chance.random() < 0.7,
                for_=chance.choice((1, 5)),
            )
    _faults(chance, groups, end, add)
    return sorted(actions, key=lambda action: (action.at, action.number))


def _a_run(chance: Random, groups: frozenset[Group], automations: int, at: int, add: Any) -> None:
    """A start, and what is done about that run."""
    options: dict[str, Any] = {"automation": chance.randrange(automations)}
    if chance.random() < 0.1:
        options["lease"] = chance.choice(("1s", "2s", "5s"))
    if Group.CLIENTS in groups and chance.random() < 0.3:
        options["key"] = f"key-{at}"
    if Group.CLIENTS in groups and chance.random() < 0.1:
        options["patience"] = chance.choice((0, 1, 5)) * MILLISECOND
    start = add(at, Kind.START, **options)
    if "key" in options and chance.random() < 0.5:
        add(at + chance.choice((0, 1, 2_000)) * MILLISECOND, Kind.START, of=start, **options)
    if "lease" in options and chance.random() < 0.5:
        add(at + chance.choice((300, 900, 1_500)) * MILLISECOND, Kind.RENEW, of=start)
    soon = (0, 0, 1, 1, 2, 3, 5, 8, 20, 50, 200, 500, 1_500, 4_000, 12_000)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 5))):
        more: dict[str, Any] = {}
        if chance.random() < 0.3:
            more["mode"] = "drain"
        if chance.random() < 0.4:
            more["deadline"] = chance.choice(("0s", "0.001s", "0.05s", "1s", "30s"))
        if chance.random() < 0.35:
            more["cascade"] = True
        if chance.random() < 0.2:
            more["wait"] = chance.choice((1, 5))
        if Group.CLIENTS in groups and chance.random() < 0.2:
            more["patience"] = chance.choice((0, 0, 1, 2)) * MILLISECOND
        add(at + chance.choice(soon) * MILLISECOND, Kind.TERMINATE, of=start, **more)
    for _ in range(chance.choice((0, 1, 2))):
        how = chance.choice(("c1", "detail", "search", "receipt", "list"))
        add(at + chance.choice(soon) * MILLISECOND, Kind.READ, of=start, how=how)
    if chance.random() < 0.1:
        add(at + chance.choice(soon) * MILLISECOND, Kind.FOREIGN, of=start)


def _narrowing(chance: Random, automations: int) -> dict[str, Any]:
    options: dict[str, Any] = {"cascade": chance.random() < 0.3, "deadline": chance.choice(("0s", "2s", "10s"))}
    if chance.random() < 0.5:
        options["automation"] = chance.randrange(automations)
    if chance.random() < 0.2:
        options["pause"] = True
    if chance.random() < 0.2:
        options["abort"] = chance.choice((0, 1, 5)) * MILLISECOND
    return options


def _faults(chance: Random, groups: frozenset[Group], end: int, add: Any) -> None:
    def when() -> int:
        return chance.randrange(end)

    if Group.KILLS in groups:
        for _ in range(chance.randint(1, 3)):
            add(when(), chance.choice((Kind.KILL, Kind.KILL, Kind.ORDERLY, Kind.SECOND_SERVER)))
        add(when(), Kind.STRIKE, after=chance.choice((1, 2, 3, 10, 40)), what="kill")
    if Group.POWER in groups:
        for _ in range(chance.randint(1, 2)):
            add(when(), Kind.POWER_CUT)
        add(when(), Kind.STRIKE, after=chance.choice((1, 2, 3, 10, 40)), what="power")
    if Group.DISK in groups:
        kind = chance.choice((Kind.STRIKE, Kind.FULL, Kind.SLOW))
        if kind is Kind.STRIKE:
            add(when(), kind, after=chance.choice((1, 2, 3, 10)), what="error")
        else:
            add(when(), kind, for_=chance.choice((1, 4, 10)))
    if Group.CLOCK in groups:
        for _ in range(chance.randint(1, 3)):
            jump = chance.choice((-31_536_000, -3_600, -5, 5, 3_600, 86_400))
            add(when(), Kind.JUMP, seconds=jump)
            if chance.random() < 0.5:
                add(when(), Kind.STALL, seconds=chance.choice((1, 3, 30)))
