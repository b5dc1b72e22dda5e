-- name: retention_of
-- How long a tenant's runs and their payloads are kept, and how far the payloads are removed.
SELECT executions_kept, payloads_kept, payloads_removed_to FROM tenants WHERE id = :id;

-- name: retention_reached
-- So far.
UPDATE tenants SET payloads_removed_to = :payloads_removed_to WHERE id = :id;

-- name: retention_walk
-- The next runs whose payloads may be due, oldest first.
SELECT id, completed_at FROM executions WHERE tenant = :tenant AND id > :after AND id <= :up_to
ORDER BY id LIMIT :limit;

-- name: retention_later
-- Come back to this one.
INSERT INTO payloads_later (tenant, execution) VALUES (:tenant, :execution) ON CONFLICT DO NOTHING;

-- name: retention_due_later
-- Those to come back to whose time has come, and those that are gone.
SELECT l.execution FROM payloads_later l
LEFT JOIN executions e ON e.tenant = l.tenant AND e.id = l.execution
WHERE l.tenant = :tenant AND (e.id IS NULL OR e.completed_at <= :until) ORDER BY l.execution LIMIT :limit;

-- name: retention_not_later
-- That is done.
DELETE FROM payloads_later WHERE tenant = :tenant AND execution = :execution;

-- name: retention_expired
-- Runs that ended long enough ago to be forgotten.
SELECT id FROM executions WHERE tenant = :tenant AND id <= :up_to AND completed_at <= :until ORDER BY id LIMIT :limit;

-- name: retention_input
-- What it was started with.
DELETE FROM inputs WHERE tenant = :tenant AND execution = :execution;

-- name: retention_subject
-- Whom it was about.
UPDATE executions SET subject = NULL WHERE tenant = :tenant AND id = :id AND subject IS NOT NULL;

-- name: retention_item_payloads
-- The same of their items.
UPDATE items SET output = NULL, sealed = NULL, error = CASE WHEN error IS NULL THEN NULL ELSE :error END
WHERE tenant = :tenant AND execution = :execution;

-- name: retention_items
-- All of it.
DELETE FROM items WHERE tenant = :tenant AND execution = :execution;

-- name: retention_steps
-- All of it.
DELETE FROM steps WHERE tenant = :tenant AND execution = :execution;

-- name: retention_termination
-- All of it.
DELETE FROM terminations WHERE tenant = :tenant AND execution = :execution;

-- name: retention_addenda
-- All of it.
DELETE FROM addenda WHERE tenant = :tenant AND execution = :execution;

-- name: retention_execution
-- All of it.
DELETE FROM executions WHERE tenant = :tenant AND id = :id;
