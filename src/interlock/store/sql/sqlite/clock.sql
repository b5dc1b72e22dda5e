-- name: clock_move_runs
-- Timers, retries, callbacks and deadlines keep the time that is left of them.
UPDATE executions INDEXED BY executions_due SET wake_at = wake_at + :by WHERE wake_at IS NOT NULL
    AND tenant = :tenant;

-- name: clock_move_tokens
-- No token outlives its time because it was issued by a clock that was ahead. One that was issued by a clock that was
-- behind expires early, and its client asks for another.
UPDATE tokens SET expires_at = expires_at + min(:by, 0) WHERE tenant = :tenant;
