"""The least of a scenario that still goes wrong: everything else is left out, as far as that goes."""

from __future__ import annotations

from collections.abc import Callable

from simulation.scenario import Action, Scenario


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], most: int = 400) -> Scenario:
    """Leave out actions, half of them at first and at last one by one, for as long as it still `fails`.

    Whatever refers to an action that was left out is left out with it. At most `most` scenarios are tried.
    """
    tried = 0
    size = max(1, len(scenario.actions) // 2)
    while True:
        start, shorter = 0, False
        while start < len(scenario.actions):
            tried += 1
            if tried > most:
                return scenario
            candidate = scenario.without(_with_followers(scenario.actions, start, size))
            if len(candidate.actions) < len(scenario.actions) and fails(candidate):
                scenario, shorter = candidate, True
            else:
                start += size
        if size == 1 and not shorter:
            return scenario
        size = max(1, size // 2)


def _with_followers(actions: tuple[Action, ...], start: int, size: int) -> frozenset[int]:
    """The numbers of some actions, and of those that refer to them."""
    numbers = {action.number for action in actions[start : start + size]}
    return frozenset(numbers | {action.number for action in actions if action.of in numbers})
