-- name: lease_put
-- Insert the lease of a run.
INSERT INTO leases (tenant, execution, length, expires_at) VALUES (:tenant, :execution, :length, :expires_at);

-- name: lease_get
-- Read the duration and the end of a lease.
SELECT length, expires_at FROM leases WHERE tenant = :tenant AND execution = :execution;

-- name: lease_renew
-- Renew a lease.
UPDATE leases SET length = :length, expires_at = :expires_at WHERE tenant = :tenant AND execution = :execution;

-- name: lease_drop
-- Delete a lease: the run no longer needs one.
DELETE FROM leases WHERE tenant = :tenant AND execution = :execution;
