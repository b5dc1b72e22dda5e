-- name: retention_of
-- How long a tenant's runs and their payloads are kept, and how far the payloads are removed.
SELECT executions_kept, payloads_kept, payloads_removed_to FROM tenants WHERE id = ?;

-- name: retention_reached
-- So far.
UPDATE tenants SET payloads_removed_to = ? WHERE id = ?;

-- name: retention_walk
-- The next runs whose payloads may be due, oldest first.
SELECT id, completed_at FROM executions WHERE tenant = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?;

-- name: retention_later
-- Come back to this one.
INSERT OR IGNORE INTO payloads_later (tenant, execution) VALUES (?, ?);

-- name: retention_due_later
-- Those to come back to whose time has come, and those that are gone.
SELECT l.execution FROM payloads_later l
LEFT JOIN executions e ON e.tenant = l.tenant AND e.id = l.execution
WHERE l.tenant = ? AND (e.id IS NULL OR e.completed_at <= ?) ORDER BY l.execution LIMIT ?;

-- name: retention_not_later
-- That is done.
DELETE FROM payloads_later WHERE tenant = ? AND execution = ?;

-- name: retention_expired
-- Runs that ended long enough ago to be forgotten.
SELECT id FROM executions WHERE tenant = ? AND id <= ? AND completed_at <= ? ORDER BY id LIMIT ?;

-- name: retention_input
-- What it was started with.
DELETE FROM inputs WHERE tenant = ? AND execution = ?;

-- name: retention_subject
-- Whom it was about.
UPDATE executions SET subject = NULL WHERE tenant = ? AND id = ? AND subject IS NOT NULL;

-- name: retention_step_payloads
-- What its steps sent and received. That there was an error, and what was learned too late, stays on record.
UPDATE steps SET
    input = NULL,
    output = NULL,
    shown_input = NULL,
    shown_output = NULL,
    error = CASE WHEN error IS NULL THEN NULL ELSE ? END,
    late = CASE WHEN late IS NOT NULL THEN CAST((
        SELECT json_group_array(json_remove(j.value, '$.output', '$.error')) FROM json_each(CAST(late AS TEXT)) j
    ) AS BLOB) END
WHERE tenant = ? AND execution = ?;

-- name: retention_item_payloads
-- The same of their items.
UPDATE items SET output = NULL, error = CASE WHEN error IS NULL THEN NULL ELSE ? END
WHERE tenant = ? AND execution = ?;

-- name: retention_items
-- All of it.
DELETE FROM items WHERE tenant = ? AND execution = ?;

-- name: retention_steps
-- All of it.
DELETE FROM steps WHERE tenant = ? AND execution = ?;

-- name: retention_termination
-- All of it.
DELETE FROM terminations WHERE tenant = ? AND execution = ?;

-- name: retention_addenda
-- All of it.
DELETE FROM addenda WHERE tenant = ? AND execution = ?;

-- name: retention_execution
-- All of it.
DELETE FROM executions WHERE tenant = ? AND id = ?;
