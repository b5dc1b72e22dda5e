"""What an expression may read, converted for the engine once for each set of names that is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from interlock.expressions import networks
from interlock.expressions.cel import Activation, BadInputError, Engine
from interlock.expressions.failures import FunctionFailed, Unusable
from interlock.expressions.functions import DirectoryFunctions, Frame, asking
from interlock.expressions.limits import MAX_INPUT, MAX_READ_WEIGHT
from interlock.expressions.names import VARIABLES
from interlock.expressions.values import fits, readable, weigh

_NOTHING: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an expression reads: variables by name, and of `ctx` the members named, or all (None).

    Kept one for each set (see `environment`), so that contexts find what they converted by identity.
    """

    variables: tuple[str, ...]
    steps: tuple[str, ...] | None


def joined(inputs: Iterable[Inputs]) -> Inputs:
    """What several expressions read together."""
    every = tuple(inputs)
    variables = {name for one in every for name in one.variables}
    steps = {step for one in every for step in one.steps or ()}
    whole = any(one.steps is None for one in every)
    return Inputs(tuple(sorted(variables)), None if whole else tuple(sorted(steps)))


class Context:
    """The values of one run at one moment.

    `ctx` holds `trigger` and the output of each completed step: plain JSON that must not change during the lifetime of
    this context. `now` is the result of now() in every expression of this context. `others` are further variables, of
    filters and policies.
    """

    __slots__ = ("_activations", "ctx", "directory", "ip", "now", "others", "subject")

    def __init__(
        self,
        ctx: Mapping[str, object],
        now: datetime,
        *,
        subject: Mapping[str, object] | None = None,
        ip: str | None = None,
        directory: DirectoryFunctions | None = None,
        others: Mapping[str, object] = _NOTHING,
    ) -> None:
        self.ctx = ctx
        self.now = now
        self.subject = subject
        self.ip = ip
        self.directory = directory
        self.others = others
        # By identity, which is quicker than by value; each entry holds what its key is the identity of.
        self._activations: dict[tuple[int, int], tuple[Engine, Inputs, Activation]] = {}

    def frame(self) -> Frame:
        """What functions see during one evaluation."""
        return Frame(self.now, asking(self.directory))

    def selected(self, inputs: Inputs) -> dict[str, object]:
        """The variables that are read, `ip` still as text."""
        chosen: dict[str, object] = {}
        ctx = self.ctx
        steps = inputs.steps
        for name in inputs.variables:
            if name == "ctx":
                chosen["ctx"] = ctx if steps is None else {step: ctx[step] for step in steps if step in ctx}
            elif name == "steps":
                names = ctx.keys() if steps is None else steps
                chosen["steps"] = {step: {"output": ctx[step]} for step in names if step in ctx and step != "trigger"}
            elif name == "trigger":
                chosen["trigger"] = ctx.get("trigger", {})
            elif name == "subject":
                if self.subject is not None:
                    chosen["subject"] = self.subject
            elif name == "ip":
                if self.ip is not None:
                    chosen["ip"] = self.ip
            elif name in self.others:
                chosen[name] = self.others[name]
        return chosen

    def activation(self, engine: Engine, inputs: Inputs) -> Activation:
        """The variables for the engine. Raises Unusable."""
        key = (id(engine), id(inputs))
        known = self._activations.get(key)
        if known is None:
            variables = self.selected(inputs)
            if "ip" in variables:
                try:
                    variables["ip"] = networks.ip(str(variables["ip"]))
                except FunctionFailed:
                    del variables["ip"]
            known = self._activations[key] = (engine, inputs, _converted(engine, variables))
        return known[2]

    def with_step(self, name: str, output: object) -> Context:
        """The same after another step has completed."""
        return Context(
            {**self.ctx, name: output},
            self.now,
            subject=self.subject,
            ip=self.ip,
            directory=self.directory,
            others=self.others,
        )

    def packed(self, inputs: Inputs) -> str:
        """The context as JSON for another process, with what is read and no more. Raises Unusable if too large."""
        kept = Inputs(tuple(name for name in inputs.variables if name in ("subject", "ip")), None)
        chosen = self.selected(kept)
        names = self.ctx.keys() if inputs.steps is None else {*inputs.steps, *(_TRIGGER & {*inputs.variables})}
        chosen["ctx"] = {name: self.ctx[name] for name in names if name in self.ctx}
        chosen["others"] = {name: _packed(self.others[name]) for name in inputs.variables if name in self.others}
        chosen["now"] = _packed(self.now)
        if weigh(chosen, MAX_READ_WEIGHT) > MAX_READ_WEIGHT:
            raise _too_much()
        try:
            text = json.dumps(chosen, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            try:
                text = json.dumps(readable(chosen), separators=(",", ":"))
            except (OverflowError, ValueError):
                raise Unusable("what it reads is not plain JSON") from None
        if len(text) > MAX_INPUT:
            raise _too_much()
        return text


def _too_much() -> Unusable:
    return Unusable(f"it reads more than {MAX_INPUT // 1024} KiB", over_budget=True)


_TRIGGER: Final = frozenset({"trigger"})
_TIMES: Final = frozenset(name for name, (kind, _) in VARIABLES.items() if kind in ("timestamp", "duration"))


def _packed(value: object) -> object:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _unpacked(name: str, value: Any) -> object:
    return datetime.fromisoformat(value) if VARIABLES[name][0] == "timestamp" else value


def _converted(engine: Engine, variables: dict[str, object]) -> Activation:
    try:
        if fits(variables):
            return engine.activation(variables)
    except BadInputError:
        pass
    except RecursionError:
        raise Unusable("what it reads is nested too deeply") from None
    readable_values = {name: value if name in _TIMES else readable(value) for name, value in variables.items()}
    try:
        return engine.activation(readable_values)
    except BadInputError:
        raise Unusable("what it reads is not plain JSON") from None


def unpacked(packed: Mapping[str, Any], directory: DirectoryFunctions | None) -> Context:
    """The context that `Context.packed` wrote, in the other process."""
    return Context(
        packed["ctx"],
        datetime.fromisoformat(packed["now"]),
        subject=packed.get("subject"),
        ip=packed.get("ip"),
        directory=directory,
        others={name: _unpacked(name, value) for name, value in packed["others"].items()},
    )
