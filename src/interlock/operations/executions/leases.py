"""Renew the lease of a run: say that it is still wanted."""

from __future__ import annotations

from interlock.errors import FailedPrecondition
from interlock.operations import shown
from interlock.operations.executions import handlers
from interlock.operations.executions.views import Lease, RenewLeaseRequest
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services


async def renew(services: Services, call: Call, body: RenewLeaseRequest) -> Answer:
    """Say that the run is still wanted.

    Raises:
        NotFound: there is no such run.
        FailedPrecondition: it has no lease, has ended, or is being stopped.
    """
    row = await handlers.read(services.store, call)
    length = None if body.lease is None else body.lease.nanos // 1000
    expires_at = await services.store.leases.renew(row.ref, services.clock.now(), length)
    if expires_at is None:
        raise FailedPrecondition("the execution has no lease to renew: it was started without one, or is at its end")
    return Answer(Lease(execution_id=row.id, expires_at=shown.moment(expires_at)))
