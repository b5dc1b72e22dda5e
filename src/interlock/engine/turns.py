"""Whose turn it is: slots shared fairly by tenant and by the host that a run calls next.

A run that is ready waits in the queue of its tenant, because where it calls is known only once its expressions are
evaluated. One whose next call has to wait rests `PENDING` in the store, gives its slot back, and waits in the lane of
its (tenant, host). Free slots go round the tenants, and round the queue and the lanes of each.

A call cannot be taken back once it was made, so that a host that never answers keeps what it was given. Therefore the
more slots are in use the fewer one host, or one tenant, may have: at most `SHARE` times what is left to the others. One
slow host alone can take three quarters of all slots, and whatever it takes, some are left to a host that asks later.

Memory is shared by the same rule: a queue holds at most as many runs as there is room left for all others. What it does
not hold, the store does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeVar

from interlock.rules.model import Ref

SHARE: Final = 7
"""One tenant may use so many times the slots that it leaves free, and a host so many times those left to its tenant."""

Host = str | None
"""The host that a run calls next; None: not known, or no call."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many attempts may be in flight at once. `per_host` and `per_tenant`: 0 is no limit but the fair share."""

    total: int
    per_host: int = 0
    per_tenant: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """The run whose turn it is. `host`: a slot for a call there is set aside for it."""

    ref: Ref
    lost: bool
    host: Host


class _Waiting:
    """What waits of one tenant: a queue for each host, and one, `None`, of those whose host is not known."""

    __slots__ = ("queues",)

    def __init__(self) -> None:
        self.queues: dict[Host, dict[Ref, bool]] = {}

    def rotate(self, host: Host) -> None:
        """Put the queue at the end, or away if it is empty."""
        queue = self.queues.pop(host)
        if queue:
            self.queues[host] = queue


class Turns:
    """Who has a slot, and who waits for one.

    Args:
        limits: slots in all, for a host, and for a tenant.
        room: most runs that wait in memory.
    """

    def __init__(self, limits: Limits, room: int) -> None:
        self._limits = limits
        self._room = room
        self._used = 0
        self._by_tenant: Counter[int] = Counter()
        self._by_host: Counter[str] = Counter()
        self._waiting: dict[int, _Waiting] = {}
        self._where: dict[Ref, Host] = {}
        self.unknown = 0
        """How many wait whose host is not known."""

    # --- slots ----------------------------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Slots in use."""
        return self._used

    def free_for(self, tenant: int) -> bool:
        """Whether a run of the tenant may have a slot now."""
        free = self._limits.total - self._used
        mine = self._by_tenant[tenant]
        if free <= 0 or (self._limits.per_tenant and mine >= self._limits.per_tenant):
            return False
        return mine < SHARE * free

    def free_at(self, tenant: int, host: str, *, own: bool = False) -> bool:
        """Whether a run of the tenant may call the host now. `own`: it has its slot already."""
        mine = self._by_host[host]
        if self._limits.per_host and mine >= self._limits.per_host:
            return False
        free, ours = self._limits.total - self._used + own, self._by_tenant[tenant] - own
        if not mine:
            return free > 0
        # Rounded so that the tenant can still call a host that it calls nowhere yet.
        return mine * (SHARE + 1) < SHARE * (SHARE * free - ours) and ours + 1 < SHARE * (free - 1)

    def take(self, tenant: int, host: Host = None) -> None:
        """A run has a slot from now on."""
        self._used += 1
        self._by_tenant[tenant] += 1
        if host is not None:
            self._by_host[host] += 1

    def give_back(self, tenant: int, host: Host) -> None:
        """A run needs its slot no more."""
        self._used -= 1
        _less(self._by_tenant, tenant)
        if host is not None:
            _less(self._by_host, host)

    def move(self, tenant: int, before: Host, after: Host) -> bool:
        """A run in a slot is about to call another host, or the same one again. False: it has to wait for its turn."""
        if before == after:
            # It goes on, unless another tenant with less in flight waits for the same host.
            return after is None or not self._outwaited(tenant, after)
        if before is not None:
            _less(self._by_host, before)
        if after is None:
            return True
        if self.waits_for(tenant, after) or not self.free_at(tenant, after, own=True):
            if before is not None:
                self._by_host[before] += 1
            return False
        self._by_host[after] += 1
        return True

    # --- waiting --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._where

    def put(self, ref: Ref, host: Host = None, *, lost: bool = False) -> bool:
        """Queue a run. False: there is no room, and the store has to remember it. A lost one always has room."""
        if ref in self._where:
            if lost:
                self._waiting[ref.tenant].queues[self._where[ref]][ref] = True
            return True
        if not lost and self.full(ref.tenant, host):
            return False
        waiting = self._waiting.get(ref.tenant)
        if waiting is None:
            waiting = self._waiting[ref.tenant] = _Waiting()
        waiting.queues.setdefault(host, {})[ref] = lost
        self._where[ref] = host
        self.unknown += host is None
        return True

    def forget(self, ref: Ref) -> None:
        """The run waits no more."""
        if ref not in self._where:
            return
        host = self._where.pop(ref)
        self.unknown -= host is None
        queues = self._waiting[ref.tenant].queues
        del queues[host][ref]
        if not queues[host]:
            del queues[host]
        if not queues:
            del self._waiting[ref.tenant]

    def full(self, tenant: int, host: Host) -> bool:
        """Whether the queue may hold no more."""
        waiting = self._waiting.get(tenant)
        queue = waiting.queues.get(host) if waiting is not None else None
        return len(queue or ()) >= self._room - len(self._where)

    def waits_for(self, tenant: int, host: Host) -> bool:
        """Whether a run of the tenant waits in that queue: another one does not overtake it."""
        waiting = self._waiting.get(tenant)
        return waiting is not None and host in waiting.queues

    def next(self) -> Next | None:
        """Take out the run whose turn it is, and give it a slot; None: there is none, or none may have one now."""
        if self._used >= self._limits.total:
            return None
        for tenant, waiting in self._waiting.items():
            if not self.free_for(tenant):
                continue
            for host in waiting.queues:
                if host is None or self.free_at(tenant, host):
                    return self._chosen(tenant, waiting, host)
        return None

    def _chosen(self, tenant: int, waiting: _Waiting, host: Host) -> Next:
        queue = waiting.queues[host]
        ref = next(iter(queue))
        lost = queue.pop(ref)
        del self._where[ref]
        self.unknown -= host is None
        waiting.rotate(host)
        del self._waiting[tenant]
        if waiting.queues:
            self._waiting[tenant] = waiting
        self.take(tenant, host)
        return Next(ref, lost, host)

    def _outwaited(self, tenant: int, host: str) -> bool:
        mine = self._by_tenant[tenant]
        return any(
            other != tenant and host in waiting.queues and self._by_tenant[other] + 1 < mine
            for other, waiting in self._waiting.items()
        )


_Key = TypeVar("_Key", int, str)


def _less(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
