"""The actions on a run, their clients and their order: drawn from a seed, so that a history can be repeated.

The run is in one of three positions when the race begins: its call is in flight and the receiver will answer
(`ANSWERED`), it waits for its callback (`WAITED`), or its callback overtakes the 202 that announces it (`OVERTAKEN`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.histories.model import Kind, Order

THREADS: Final = 8
OPERATIONS: Final = 12
"""What a history has at least; the closing look and what the server does of its own accord come on top."""
LOOKS: Final = {Kind.GET: 65, Kind.DETAIL: 25, Kind.LIST: 10}
"""How often which; the second costs the server four times what the first does, and the third six times."""
LEAST: Final = 0.4
"""The share of a round below which either winner is helped."""
MOST_LOOKS: Final = 4
LOST: Final = 0.05
"""The share of orders and callbacks whose client does not wait for the answer."""


class Position(StrEnum):
    ANSWERED = "answered"
    WAITED = "waited"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class Action:
    kind: Kind
    argument: Order | int | None = None
    is_lost: bool = False


DETAIL: Final = Action(Kind.DETAIL)


@dataclass(frozen=True, slots=True)
class Plan:
    seed: str
    position: Position
    of_thread: tuple[tuple[Action, ...], ...] = field(repr=False)


class Balance:
    """How many reads come before a terminate, so that the stop and the end win equally often on this machine.

    A terminate is quicker than a callback, and much quicker than an answer of the receiver; the difference depends on
    the machine.
    """

    def __init__(self) -> None:
        self.looks = dict.fromkeys(Position, 1)

    def learn(self, position: Position, ended: int, stopped: int) -> None:
        """A round is over, in which so many runs came to their own end, and so many were stopped."""
        share = ended / max(ended + stopped, 1)
        step = (share < LEAST) - (share > 1 - LEAST) if ended + stopped else 0
        self.looks[position] = min(max(self.looks[position] + step, 0), MOST_LOOKS)


def draw(seed: int, number: int, actors: tuple[str, str], balance: Balance) -> Plan:
    """The plan of history `number`. The two orders come from two clients, each with a reason of its own."""
    chance = random.Random(f"{seed}/{number}")
    position = chance.choices(list(Position), (5, 4, 2))[0]
    looks = [[_look(chance)] for _ in range(THREADS)]
    hands = list(range(THREADS))
    chance.shuffle(hands)
    for place, actor in enumerate(actors):
        before = looks[hands[place]] * max(balance.looks[position] + chance.choice((-1, 0, 0, 1)), 0)
        order = Action(Kind.TERMINATE, _order(chance, actor, position), chance.random() < LOST)
        looks[hands[place]] = [*before, order]
    for place, action in enumerate(_ends(chance, position), 2):
        looks[hands[place]] = [action, *looks[hands[place]]]
    count = sum(map(len, looks))
    for place in range(OPERATIONS - count):
        looks[hands[-1 - place % 4]].append(_look(chance))
    return Plan(f"{seed}/{number}", position, tuple(map(tuple, looks)))


def _look(chance: random.Random) -> Action:
    return Action(chance.choices(list(LOOKS), list(LOOKS.values()))[0])


def _order(chance: random.Random, actor: str, position: Position) -> Order:
    drains = position is Position.ANSWERED and chance.random() < 0.3
    at_once = chance.random() < 0.1
    return Order(actor, f"{actor} was there", "drain" if drains else "interrupt", at_once)


def _ends(chance: random.Random, position: Position) -> list[Action]:
    """What brings the run to its own end."""
    callback = Action(Kind.CALLBACK, None, chance.random() < LOST)
    if position is Position.ANSWERED:
        return [Action(Kind.ANSWER, 410 if chance.random() < 0.3 else 200)]
    if position is Position.OVERTAKEN:
        return [Action(Kind.ANSWER, 202), callback]
    return [callback, Action(Kind.CALLBACK)] if chance.random() < 0.2 else [callback]
