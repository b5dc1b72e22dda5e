-- name: leases_due
-- Those that have expired, longest ago first.
SELECT execution FROM leases INDEXED BY leases_due
WHERE tenant = :tenant AND expires_at <= :until ORDER BY expires_at LIMIT :limit;

-- name: lease_next
-- When the next one expires.
SELECT min(expires_at) FROM leases INDEXED BY leases_due WHERE tenant = :tenant;
