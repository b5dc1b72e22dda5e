-- name: retention_of
-- The retention of a tenant's runs and payloads, and the run up to which payloads are removed.
SELECT executions_kept, payloads_kept, payloads_removed_to FROM tenants WHERE id = :id;

-- name: retention_reached
-- Store the run up to which payloads are removed.
UPDATE tenants SET payloads_removed_to = :payloads_removed_to WHERE id = :id;

-- name: retention_walk
-- The next runs whose payloads may have reached their retention, oldest first.
SELECT id, completed_at FROM executions WHERE tenant = :tenant AND id > :after AND id <= :up_to
ORDER BY id LIMIT :limit;

-- name: retention_later
-- Store a run to return to.
INSERT INTO payloads_later (tenant, execution) VALUES (:tenant, :execution) ON CONFLICT DO NOTHING;

-- name: retention_due_later
-- The runs to return to that are due, and those that were removed.
SELECT l.execution FROM payloads_later l
LEFT JOIN executions e ON e.tenant = l.tenant AND e.id = l.execution
WHERE l.tenant = :tenant AND (e.id IS NULL OR e.completed_at <= :until) ORDER BY l.execution LIMIT :limit;

-- name: retention_not_later
-- Delete a run to return to.
DELETE FROM payloads_later WHERE tenant = :tenant AND execution = :execution;

-- name: retention_expired
-- Runs that ended before the retention of runs.
SELECT id FROM executions WHERE tenant = :tenant AND id <= :up_to AND completed_at <= :until ORDER BY id LIMIT :limit;

-- name: retention_input
-- Delete the trigger data of a run.
DELETE FROM inputs WHERE tenant = :tenant AND execution = :execution;

-- name: retention_subject
-- Remove the subject of a run.
UPDATE executions SET subject = NULL WHERE tenant = :tenant AND id = :id AND subject IS NOT NULL;

-- name: retention_item_payloads
-- Remove the payloads of its items.
UPDATE items SET output = NULL, sealed = NULL, error = CASE WHEN error IS NULL THEN NULL ELSE :error END
WHERE tenant = :tenant AND execution = :execution;

-- name: retention_items
-- Delete the items of a run.
DELETE FROM items WHERE tenant = :tenant AND execution = :execution;

-- name: retention_steps
-- Delete the steps of a run.
DELETE FROM steps WHERE tenant = :tenant AND execution = :execution;

-- name: retention_termination
-- Delete the termination of a run.
DELETE FROM terminations WHERE tenant = :tenant AND execution = :execution;

-- name: retention_addenda
-- Delete the addenda of a run.
DELETE FROM addenda WHERE tenant = :tenant AND execution = :execution;

-- name: retention_execution
-- Delete a run.
DELETE FROM executions WHERE tenant = :tenant AND id = :id;
