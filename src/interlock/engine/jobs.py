"""Work in the background: what is decided once and carried out in batches, and what time alone brings about."""

from __future__ import annotations

import asyncio
from typing import Final

from interlock.errors import Unavailable
from interlock.ports import Clock, Store
from interlock.rules.events import Recovered
from interlock.rules.model import SECOND
from interlock.rules.states import State

FORGET_EVERY: Final = 3_600 * SECOND
REMOVAL_PAUSE: Final = SECOND // 20
"""Between two batches of old runs to remove: nobody is to notice."""
FULL_PAUSE: Final = SECOND
"""How long work in the background rests when the disk is full."""
LEASE_SWEEP: Final = 3_600 * SECOND
FROZEN_BATCH: Final = 1_000
LOOK_AGAIN: Final = SECOND


async def expire(store: Store, clock: Clock) -> None:
    """Terminate every run whose lease has expired."""
    while await store.leases.expire(clock.now()):
        pass


async def forget(store: Store, clock: Clock) -> None:
    """Now and then: forget old idempotency keys, and what is older than its tenant keeps it."""
    while True:
        await clock.sleep_until(clock.now() + LOOK_AGAIN)
        try:
            await store.executions.forget_keys(clock.now())
            await store.bulk_terminations.forget_plans(clock.now())
            while await store.retention.remove(clock.now()):
                await clock.sleep_until(clock.now() + REMOVAL_PAUSE)
        except Unavailable:
            continue
        await clock.sleep_until(clock.now() + FORGET_EVERY)


async def cascades(store: Store, clock: Clock) -> None:
    """Carry orders to stop very large trees to their end, those of an earlier process included."""
    while True:
        await store.executions.cascades_left()
        left = 1
        while left:
            try:
                left = await store.executions.continue_cascades(clock.now())
            except Unavailable:
                await clock.sleep_until(clock.now() + FULL_PAUSE)


async def leases(store: Store, clock: Clock) -> None:
    """Terminate runs whose lease expires, when it does."""
    while True:
        try:
            await expire(store, clock)
        except Unavailable:
            await clock.sleep_until(clock.now() + FULL_PAUSE)
            continue
        next_at = store.leases.next()
        news = asyncio.ensure_future(store.leases.news())
        timer = asyncio.ensure_future(clock.sleep_until(clock.now() + LEASE_SWEEP if next_at is None else next_at))
        try:
            await asyncio.wait((news, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            timer.cancel()


async def stops_alone(store: Store, clock: Clock) -> None:
    """While nothing else moves: bring to rest what is stopped, as nobody is at work on it."""
    while True:
        for row in store.executions.in_flight(FROZEN_BATCH):
            if row.state is State.STOPPING:
                await store.executions.apply(row.ref, Recovered(clock.now(), row.epoch, repeatable=False))
        await clock.sleep_until(clock.now() + LOOK_AGAIN)


async def bulk(store: Store, clock: Clock) -> None:
    """Carry out decisions about many runs, those that an earlier process was told of included."""
    while True:
        await store.bulk.left()
        left = 1
        while left:
            try:
                left = await store.bulk.proceed(clock.now())
            except Unavailable:
                await clock.sleep_until(clock.now() + FULL_PAUSE)
