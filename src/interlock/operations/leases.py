"""Renew the lease of a run: say that it is still wanted."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from interlock.contract.base import Message
from interlock.contract.executions import lease_length
from interlock.contract.scalars import Int64
from interlock.contract.times import Duration, Timestamp
from interlock.errors import FailedPrecondition
from interlock.operations import executions, shown
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services


class RenewLeaseRequest(Message):
    """Let the run go on for its lease again, from now, or for another length."""

    proto_name: ClassVar[str] = "interlock.v1.RenewLeaseRequest"

    lease: Annotated[Duration, AfterValidator(lease_length)] | None = None
    """1 s to 30 days; without it, as long as before."""


class Lease(Message):
    """Until when a run goes on unless its lease is renewed."""

    proto_name: ClassVar[str] = "interlock.v1.Lease"

    execution_id: Int64 = 0
    expires_at: Timestamp | None = None


async def renew(services: Services, call: Call, body: RenewLeaseRequest) -> Answer:
    """Say that the run is still wanted.

    Raises:
        NotFound: there is no such run.
        FailedPrecondition: it has no lease, has ended, or is being stopped.
    """
    row = await executions.read(services.store, call)
    length = None if body.lease is None else body.lease.nanos // 1000
    expires_at = await services.store.leases.renew(row.ref, services.clock.now(), length)
    if expires_at is None:
        raise FailedPrecondition("the execution has no lease to renew: it was started without one, or is at its end")
    return Answer(Lease(execution_id=row.id, expires_at=shown.moment(expires_at)))
