"""The allocation of slots: they are shared fairly by tenant and by the host that a run calls next.

A ready run waits in the queue of its tenant, because its next host is known only after its expressions are evaluated. A
run whose next call has to wait becomes `PENDING`, gives its slot back, and waits in the lane of its tenant and host.
Free slots rotate through the tenants, and through the queue and the lanes of each tenant.

A call cannot be taken back, so a host that never answers keeps its slots. Therefore one host, or one tenant, may use at
most `SHARE` times the slots that it leaves to the others. A single slow host can take three quarters of all slots; the
others are left to hosts that are called later.

Memory is shared by the same rule: a queue holds at most as many runs as there is room for all others. The store has the
runs that the queues do not hold.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeVar

from interlock.rules.model import Ref
from interlock.rules.values import value

SHARE: Final = 7
"""Times the free slots that one tenant may use, and times the slots left to its tenant that one host may use."""

Host = str | None
"""The host that a run calls next; None if it is not known, or if the run makes no call."""


@value(frozen=True, slots=True)
class Limits:
    """The number of attempts in flight: in all, for a host, and for a tenant. 0 means the fair share only."""

    total: int
    per_host: int = 0
    per_tenant: int = 0


@value(frozen=True, slots=True)
class Next:
    """A run that has got a slot. The slot includes a call to `host` unless that is None."""

    ref: Ref
    lost: bool
    host: Host


class _Waiting:
    """The waiting runs of one tenant: a queue for each host, and the queue `None` for runs whose host is not known."""

    __slots__ = ("queues",)

    def __init__(self) -> None:
        self.queues: dict[Host, dict[Ref, bool]] = {}

    def rotate(self, host: Host) -> None:
        """Move the queue of the host to the end, or remove it if it is empty."""
        queue = self.queues.pop(host)
        if queue:
            self.queues[host] = queue


class Turns:
    """The slots in use, and the runs that wait for one.

    Args:
        limits: Slots in all, for a host, and for a tenant.
        room: The largest number of runs that wait in memory.
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
        """The number of waiting runs whose host is not known."""

    # --- slots ----------------------------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """The number of slots in use."""
        return self._used

    def free_for(self, tenant: int) -> bool:
        """Return whether a run of the tenant may get a slot now."""
        free = self._limits.total - self._used
        mine = self._by_tenant[tenant]
        if free <= 0 or (self._limits.per_tenant and mine >= self._limits.per_tenant):
            return False
        return mine < SHARE * free

    def free_at(self, tenant: int, host: str, *, own: bool = False) -> bool:
        """Return whether a run of the tenant may call the host now. With `own`, the run has a slot already."""
        mine = self._by_host[host]
        if self._limits.per_host and mine >= self._limits.per_host:
            return False
        free, ours = self._limits.total - self._used + own, self._by_tenant[tenant] - own
        if not mine:
            return free > 0
        # Rounded so that the tenant can still call another host for the first time.
        return mine * (SHARE + 1) < SHARE * (SHARE * free - ours) and ours + 1 < SHARE * (free - 1)

    def take(self, tenant: int, host: Host = None) -> None:
        """Give a slot to a run."""
        self._used += 1
        self._by_tenant[tenant] += 1
        if host is not None:
            self._by_host[host] += 1

    def give_back(self, tenant: int, host: Host) -> None:
        """Take the slot of a run back."""
        self._used -= 1
        _less(self._by_tenant, tenant)
        if host is not None:
            _less(self._by_host, host)

    def move(self, tenant: int, before: Host, after: Host) -> bool:
        """Move the slot of a run to the host of its next call. Returns False if that call has to wait."""
        if before == after:
            # The run continues, unless a tenant with fewer slots waits for the same host.
            return after is None or not self._waiting or not self._outwaited(tenant, after)
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
        """Queue a run. Returns False if there is no room and the store has to keep it; a lost run always has room."""
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
        """Remove a run from its queue."""
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
        """Return whether the queue has no room for another run."""
        waiting = self._waiting.get(tenant)
        queue = waiting.queues.get(host) if waiting is not None else None
        return len(queue or ()) >= self._room - len(self._where)

    def waits_for(self, tenant: int, host: Host) -> bool:
        """Return whether a run of the tenant waits in that queue; later runs must not overtake it."""
        waiting = self._waiting.get(tenant)
        return waiting is not None and host in waiting.queues

    def next(self) -> Next | None:
        """Remove the next run from its queue, and give it a slot; None if no waiting run may get a slot now."""
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
