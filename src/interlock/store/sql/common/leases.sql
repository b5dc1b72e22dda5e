-- name: lease_put
-- A run is wanted until then.
INSERT INTO leases (tenant, execution, length, expires_at) VALUES (:tenant, :execution, :length, :expires_at);

-- name: lease_get
-- How long, and until when.
SELECT length, expires_at FROM leases WHERE tenant = :tenant AND execution = :execution;

-- name: lease_renew
-- It is wanted for longer.
UPDATE leases SET length = :length, expires_at = :expires_at WHERE tenant = :tenant AND execution = :execution;

-- name: lease_drop
-- Nobody has to say so any more.
DELETE FROM leases WHERE tenant = :tenant AND execution = :execution;
