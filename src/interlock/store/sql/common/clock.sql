-- name: clock_kept
-- What is known of the clock, or of why nothing is removed.
SELECT value FROM settings WHERE tenant = 0 AND name = :name;

-- name: clock_keep
-- The same, anew.
INSERT INTO settings (tenant, name, value) VALUES (0, :name, :value)
ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value;

-- name: clock_drop
-- Gone.
DELETE FROM settings WHERE tenant = 0 AND name = :name;

-- name: clock_newest
-- When the newest row of a tenant's audit record was written.
SELECT at FROM audit WHERE tenant = :tenant ORDER BY id DESC LIMIT 1;

-- name: clock_tenants
-- Whose records tell of a change of the clock.
SELECT id FROM tenants ORDER BY id;

-- name: clock_move_deadlines
-- Those of runs that are stopping.
UPDATE terminations SET deadline_at = deadline_at + :by
WHERE tenant = :tenant AND execution IN (
    SELECT id FROM executions WHERE tenant = :tenant AND state = 'STOPPING' AND state <> 'DONE'
);

-- name: clock_move_leases
-- Leases keep the time that is left of them.
UPDATE leases SET expires_at = expires_at + :by WHERE tenant = :tenant;

-- name: clock_move_plans
-- So do plans.
UPDATE termination_plans SET expires_at = expires_at + :by WHERE tenant = :tenant;

-- name: clock_move_keys
-- Idempotency keys keep their age.
UPDATE idempotency SET created_at = created_at + :by WHERE tenant = :tenant;

-- name: clock_move_events
-- So do the ids of events. The next time of a schedule is a date and stays as it is.
UPDATE trigger_events SET created_at = created_at + :by WHERE tenant = :tenant;

-- name: clock_move_starts
-- The windows of circuit breakers hold what they held.
UPDATE breaker_starts SET at = at + :by WHERE tenant = :tenant;

-- name: clock_move_breakers
-- And begin where they began.
UPDATE automations SET breaker_since = breaker_since + :by WHERE tenant = :tenant AND breaker_max > 0;

-- name: clock_cap_assertions
-- Nor is a used assertion remembered for longer than one can be valid, and never for less.
UPDATE used_assertions SET forget_at = :at WHERE tenant = :tenant AND forget_at > :at;
