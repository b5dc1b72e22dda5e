-- name: bulk_next
-- The oldest decision that is not carried out.
SELECT {bulk_action}
FROM bulk_actions INDEXED BY bulk_actions_open
WHERE tenant = :tenant AND finished_at IS NULL ORDER BY at, id LIMIT 1;

-- name: bulk_of_automation
-- The decisions about the runs of one automation that are not carried out.
SELECT id, kind, up_to FROM bulk_actions INDEXED BY bulk_actions_open
WHERE tenant = :tenant AND finished_at IS NULL AND automation = :automation ORDER BY at, id;

-- name: bulk_runs
-- The oldest runs of one state that a decision covers.
SELECT {execution}, fenced
FROM executions INDEXED BY executions_of_automation
WHERE tenant = :tenant AND automation = :automation AND state = :state AND id <= :up_to ORDER BY id LIMIT :limit;

-- name: bulk_runs_of_tenant
-- The oldest runs of one state of all automations.
SELECT {execution}, fenced
FROM executions INDEXED BY executions_of_state
WHERE tenant = :tenant AND state = :state AND state <> 'DONE' AND id <= :up_to ORDER BY id LIMIT :limit;
