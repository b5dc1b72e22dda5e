-- name: clock_kept
-- What is known of the clock, or of why nothing is removed.
SELECT value FROM settings WHERE tenant = 0 AND name = ?;

-- name: clock_keep
-- The same, anew.
INSERT OR REPLACE INTO settings (tenant, name, value) VALUES (0, ?, ?);

-- name: clock_drop
-- Gone.
DELETE FROM settings WHERE tenant = 0 AND name = ?;

-- name: clock_newest
-- When the newest row of a tenant's audit record was written.
SELECT at FROM audit WHERE tenant = ? ORDER BY id DESC LIMIT 1;

-- name: clock_tenants
-- Whose records tell of a change of the clock.
SELECT id FROM tenants ORDER BY id;

-- name: clock_move_runs
-- Timers, retries, callbacks and deadlines keep the time that is left of them.
UPDATE executions INDEXED BY executions_due SET wake_at = wake_at + ?1 WHERE wake_at IS NOT NULL AND tenant = ?2;

-- name: clock_move_deadlines
-- Those of runs that are stopping.
UPDATE terminations SET deadline_at = deadline_at + ?1
WHERE tenant = ?2 AND execution IN (
    SELECT id FROM executions WHERE tenant = ?2 AND state = 'STOPPING' AND state <> 'DONE'
);

-- name: clock_move_leases
-- Leases keep the time that is left of them.
UPDATE leases SET expires_at = expires_at + ?1 WHERE tenant = ?2;

-- name: clock_move_plans
-- So do plans.
UPDATE termination_plans SET expires_at = expires_at + ?1 WHERE tenant = ?2;

-- name: clock_move_keys
-- Idempotency keys keep their age.
UPDATE idempotency SET created_at = created_at + ?1 WHERE tenant = ?2;

-- name: clock_move_starts
-- The windows of circuit breakers hold what they held.
UPDATE breaker_starts SET at = at + ?1 WHERE tenant = ?2;

-- name: clock_move_breakers
-- And begin where they began.
UPDATE automations SET breaker_since = breaker_since + ?1 WHERE tenant = ?2 AND breaker_max > 0;

-- name: clock_move_tokens
-- No token outlives its time because it was issued by a clock that was ahead. One that was issued by a clock that was
-- behind expires early, and its client asks for another.
UPDATE tokens SET expires_at = expires_at + min(?1, 0) WHERE tenant = ?2;

-- name: clock_cap_assertions
-- Nor is a used assertion remembered for longer than one can be valid, and never for less.
UPDATE used_assertions SET forget_at = ?1 WHERE tenant = ?2 AND forget_at > ?1;
