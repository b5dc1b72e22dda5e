"""Reads are awaited, and those of the embedded store never suspend, so that they change no order on the event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import pytest

from interlock.ports import AuditLog, BulkTermination, Idempotency, ScheduledAutomation, Store
from interlock.ports.clocks import Clocks
from interlock.rules.model import Actor, Ref, TerminationRequest
from interlock.store.sqlite.writer import Form
from simulation.reads import finished
from tests.store.stores import World, opened, world

pytestmark = pytest.mark.anyio

SIGNALS: Final = frozenset({(AuditLog, "news")})
"""Methods that wait for a signal and are not reads."""
NOT_AWAITED: Final = frozenset({(AuditLog, "look_again"), (Clocks, "may_move")})
"""Methods that neither read nor write the database."""
ORDER: Final = BulkTermination(
    tenant=1, id="order", request=TerminationRequest(Actor("ann", "127.0.0.1")), paused=(), at=1, total=0
)
ARGUMENTS: Final[Mapping[Any, object]] = {
    int: 1,
    str: "auto",
    bytes: b"1",
    bool: False,
    Ref: Ref(1, 1),
    Idempotency: Idempotency(key="key", body=b"body"),
    BulkTermination: ORDER,
}


def ports() -> Iterator[tuple[str, type]]:
    """Return the ports of a store by their names."""
    for name, value in vars(Store).items():
        if isinstance(value, property):
            port = get_type_hints(value.fget)["return"]
            if port is not bool:
                yield name, port


def methods(port: type) -> Iterator[tuple[str, Callable[..., object]]]:
    for name, value in inspect.getmembers(port, inspect.isfunction):
        if not name.startswith("_"):
            yield name, value


READS: Final = [
    (place, name)
    for place, port in ports()
    for name, method in methods(port)
    if inspect.iscoroutinefunction(method) and (port, name) not in SIGNALS
]


def argument(hint: Any) -> object:
    """Return a value of a type."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return argument(get_args(hint)[0])
    if origin is Sequence:
        return (argument(get_args(hint)[0]),)
    if origin is tuple:
        return tuple(map(argument, get_args(hint)))
    if hint is ScheduledAutomation:
        return ScheduledAutomation(fires_at=1, tenant=1, automation="a", definition=None)
    if hint not in ARGUMENTS:
        # A set of values: states, kinds.
        return next(iter(hint))
    return ARGUMENTS[hint]


@pytest.fixture(params=[*Form, None])
async def here(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    on_disk = request.param is not None
    async with opened(tmp_path if on_disk else None, request.param or Form.INLINE) as store:
        made = await world(store)
        await made.in_flight()
        yield made


@pytest.mark.parametrize(("port", "read"), READS)
async def test_read_of_the_embedded_store_never_suspends(here: World, port: str, read: str) -> None:
    method = getattr(getattr(here.store, port), read)
    hints = get_type_hints(dict(methods(dict(ports())[port]))[read])
    given = {name: argument(hint) for name, hint in hints.items() if name != "return"}
    finished(method(**given))


def test_every_method_of_the_ports_is_awaited() -> None:
    awaited = 0
    for _, port in ports():
        for name, method in methods(port):
            if (port, name) not in NOT_AWAITED:
                returned = get_origin(get_type_hints(method)["return"])
                assert inspect.iscoroutinefunction(method) or returned is Awaitable, f"{port.__name__}.{name}"
                awaited += 1
    assert awaited >= len(READS) > 35


async def test_read_that_suspends_is_noticed() -> None:
    async def suspends() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="suspended"):
        finished(suspends())
