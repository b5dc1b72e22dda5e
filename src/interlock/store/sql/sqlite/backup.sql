-- name: backup_schema
-- The migrations that a database was made with.
SELECT number, checksum FROM migrations ORDER BY number;

-- name: backup_tenants
-- The tenants that have runs.
SELECT id FROM tenants ORDER BY id;

-- name: backup_automations
-- The number of automations.
SELECT count(*) FROM automations WHERE deleted_at IS NULL;

-- name: backup_executions
-- The number of runs.
SELECT count(*) FROM executions;

-- name: backup_active
-- The runs in one state that is not DONE, oldest first.
SELECT tenant, id, automation, state, step, updated_at FROM executions INDEXED BY executions_of_state
WHERE tenant = :tenant AND state = :state AND state <> 'DONE' ORDER BY id;

-- name: backup_known_until
-- The time of the newest change in the database.
SELECT max((SELECT coalesce(max(updated_at), 0) FROM executions), (SELECT coalesce(max(at), 0) FROM audit));

-- name: backup_restored
-- Insert the restore of this store from a backup.
INSERT INTO restores (backup, known_until, restored_at) VALUES (:backup, :known_until, :restored_at) RETURNING number;

-- name: backup_mark
-- Mark the active runs: the backup has nothing of what they did afterwards.
UPDATE executions SET restore = :restore WHERE state NOT IN ('DONE', 'ERROR', 'TERMINATE');
