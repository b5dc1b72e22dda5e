-- name: clock_move_runs
-- Move timers, retries, callbacks and deadlines: each keeps its remaining time.
UPDATE executions INDEXED BY executions_due SET wake_at = wake_at + :by WHERE wake_at IS NOT NULL
    AND tenant = :tenant;

-- name: clock_move_tokens
-- Limit tokens to their lifetime, because the clock that issued them may have been ahead. A token of a clock that was
-- behind expires early, and its client requests another.
UPDATE tokens SET expires_at = expires_at + min(:by, 0) WHERE tenant = :tenant;
