-- name: clock_kept
-- A stored reading of the clock, or the reason why nothing is removed.
SELECT value FROM settings WHERE tenant = 0 AND name = :name;

-- name: clock_keep
-- Store such a value.
INSERT INTO settings (tenant, name, value) VALUES (0, :name, :value)
ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value;

-- name: clock_drop
-- Delete such a value.
DELETE FROM settings WHERE tenant = 0 AND name = :name;

-- name: clock_newest
-- The time of the newest row in the audit record of a tenant.
SELECT at FROM audit WHERE tenant = :tenant ORDER BY id DESC LIMIT 1;

-- name: clock_tenants
-- The tenants, whose audit records report a move of the clock.
SELECT id FROM tenants ORDER BY id;

-- name: clock_move_deadlines
-- Move the deadlines of runs that are stopping.
UPDATE terminations SET deadline_at = deadline_at + :by
WHERE tenant = :tenant AND execution IN (
    SELECT id FROM executions WHERE tenant = :tenant AND state = 'STOPPING' AND state <> 'DONE'
);

-- name: clock_move_leases
-- Move leases: each keeps its remaining time.
UPDATE leases SET expires_at = expires_at + :by WHERE tenant = :tenant;

-- name: clock_move_plans
-- Move plans: each keeps its remaining time.
UPDATE termination_plans SET expires_at = expires_at + :by WHERE tenant = :tenant;

-- name: clock_move_keys
-- Move idempotency keys: each keeps its age.
UPDATE idempotency SET created_at = created_at + :by WHERE tenant = :tenant;

-- name: clock_move_events
-- Move the ids of events: each keeps its age. The next time of a schedule is a date and stays.
UPDATE trigger_events SET created_at = created_at + :by WHERE tenant = :tenant;

-- name: clock_move_starts
-- Move the starts that circuit breakers count: their windows hold the same starts.
UPDATE breaker_starts SET at = at + :by WHERE tenant = :tenant;

-- name: clock_move_breakers
-- Move the beginnings of these windows.
UPDATE automations SET breaker_since = breaker_since + :by WHERE tenant = :tenant AND breaker_max > 0;

-- name: clock_cap_assertions
-- Limit how long a used assertion is stored to the time for which one can be valid, and never to less.
UPDATE used_assertions SET forget_at = :at WHERE tenant = :tenant AND forget_at > :at;
