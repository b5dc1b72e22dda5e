-- name: leases_due
-- The expired leases, longest expired first.
SELECT execution FROM leases INDEXED BY leases_due
WHERE tenant = :tenant AND expires_at <= :until ORDER BY expires_at LIMIT :limit;

-- name: lease_next
-- The time at which the next lease expires.
SELECT min(expires_at) FROM leases INDEXED BY leases_due WHERE tenant = :tenant;
