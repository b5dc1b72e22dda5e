-- name: lease_put
-- A run is wanted until then.
INSERT INTO leases (tenant, execution, length, expires_at) VALUES (?, ?, ?, ?);

-- name: lease_get
-- How long, and until when.
SELECT length, expires_at FROM leases WHERE tenant = ? AND execution = ?;

-- name: lease_renew
-- It is wanted for longer.
UPDATE leases SET length = ?, expires_at = ? WHERE tenant = ? AND execution = ?;

-- name: lease_drop
-- Nobody has to say so any more.
DELETE FROM leases WHERE tenant = ? AND execution = ?;

-- name: leases_due
-- Those that have expired, longest ago first.
SELECT execution FROM leases INDEXED BY leases_due
WHERE tenant = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?;

-- name: lease_next
-- When the next one expires.
SELECT min(expires_at) FROM leases INDEXED BY leases_due WHERE tenant = ?;
