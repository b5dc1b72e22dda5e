-- name: breaker_starts_before
-- The runs of one state that count, newest first, when a circuit breaker is set.
SELECT created_at FROM executions INDEXED BY executions_of_automation
WHERE tenant = :tenant AND automation = :automation AND state = :state AND is_draft = 0 ORDER BY id DESC LIMIT :limit;

-- name: paused_newest
-- The newest paused run.
SELECT id FROM executions INDEXED BY executions_of_automation
WHERE tenant = :tenant AND automation = :automation AND state = 'PAUSED_BY_CIRCUIT_BREAKER' ORDER BY id DESC LIMIT 1;
