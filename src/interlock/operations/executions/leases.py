"""The operation that renews the lease of a run."""

from __future__ import annotations

from interlock.errors import FailedPrecondition
from interlock.operations import shown
from interlock.operations.executions import handlers
from interlock.operations.executions.views import Lease, RenewLeaseRequest
from interlock.operations.operation import Answer, Call
from interlock.operations.services import Services


async def renew(services: Services, call: Call, body: RenewLeaseRequest) -> Answer:
    """Renew the lease of a run.

    Raises:
        NotFound: There is no such run.
        FailedPrecondition: The run has no lease, is terminal, or is stopping.
    """
    row = await handlers.read(services.store, call)
    length = None if body.lease is None else body.lease.nanos // 1000
    expires_at = await services.store.leases.renew(row.ref, services.clock.now(), length)
    if expires_at is None:
        raise FailedPrecondition(
            "the execution has no lease to renew: it was started without one, is stopping, or has ended"
        )
    return Answer(Lease(execution_id=row.id, expires_at=shown.moment(expires_at)))
