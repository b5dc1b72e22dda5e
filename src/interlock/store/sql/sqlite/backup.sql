-- name: backup_schema
-- Which migrations a database was made with.
SELECT number, checksum FROM migrations ORDER BY number;

-- name: backup_tenants
-- Whose runs there are.
SELECT id FROM tenants ORDER BY id;

-- name: backup_automations
-- How many there are.
SELECT count(*) FROM automations WHERE deleted_at IS NULL;

-- name: backup_executions
-- How many there are.
SELECT count(*) FROM executions;

-- name: backup_active
-- The runs in one state that is not DONE, oldest first.
SELECT tenant, id, automation, state, step, updated_at FROM executions INDEXED BY executions_of_state
WHERE tenant = :tenant AND state = :state AND state <> 'DONE' ORDER BY id;

-- name: backup_known_until
-- When the newest change was made that is in it.
SELECT max((SELECT coalesce(max(updated_at), 0) FROM executions), (SELECT coalesce(max(at), 0) FROM audit));

-- name: backup_restored
-- This store was made from a backup.
INSERT INTO restores (backup, known_until, restored_at) VALUES (:backup, :known_until, :restored_at) RETURNING number;

-- name: backup_mark
-- Those of which more may have become since the backup than stands in it.
UPDATE executions SET restore = :restore WHERE state NOT IN ('DONE', 'ERROR', 'TERMINATE');
