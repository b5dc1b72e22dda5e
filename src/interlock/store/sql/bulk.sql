-- name: bulk_put
-- A decision about many runs.
INSERT INTO bulk_actions (tenant, id, automation, kind, client, principal, address, reason, at, up_to)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: bulk_next
-- The oldest decision that is not carried out.
SELECT tenant, id, automation, kind, client, principal, address, reason, at, up_to
FROM bulk_actions INDEXED BY bulk_actions_open
WHERE tenant = ? AND finished_at IS NULL ORDER BY at, id LIMIT 1;

-- name: bulk_of_automation
-- The decisions about one automation's runs that are not carried out.
SELECT id, kind, up_to FROM bulk_actions INDEXED BY bulk_actions_open
WHERE tenant = ? AND finished_at IS NULL AND automation = ? ORDER BY at, id;

-- name: bulk_finish
-- It is carried out, or a later decision is about the same runs.
UPDATE bulk_actions SET finished_at = ? WHERE tenant = ? AND id = ?;

-- name: bulk_runs
-- The oldest runs of one state that a decision is about.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions INDEXED BY executions_of_automation
WHERE tenant = ? AND automation = ? AND state = ? AND id <= ? ORDER BY id LIMIT ?;

-- name: bulk_runs_of_tenant
-- The oldest runs of one state, whatever their automation.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions INDEXED BY executions_of_state
WHERE tenant = ? AND state = ? AND state <> 'DONE' AND id <= ? ORDER BY id LIMIT ?;
