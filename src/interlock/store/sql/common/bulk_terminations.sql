-- name: plan_put
-- Insert a plan with the number of its runs.
INSERT INTO termination_plans (tenant, id, client, made_at, expires_at, total) VALUES (:tenant, :id, :client,
    :made_at, :expires_at, :total);

-- name: planned_put
-- Insert one run of a plan.
INSERT INTO planned (tenant, plan, execution) VALUES (:tenant, :plan, :execution) ON CONFLICT DO NOTHING;

-- name: plan_get
-- Read a plan.
SELECT client, expires_at, total, used_at FROM termination_plans WHERE tenant = :tenant AND id = :id;

-- name: plan_use
-- Use a plan: by the client that made it, within its time, and once.
UPDATE termination_plans SET used_at = :at
WHERE tenant = :tenant AND id = :id AND client = :client AND used_at IS NULL AND expires_at > :at;

-- name: plans_expired
-- The plans whose time has passed unused.
SELECT id FROM termination_plans WHERE tenant = :tenant AND expires_at <= :until LIMIT :limit;

-- name: plan_drop
-- Delete a plan.
DELETE FROM termination_plans WHERE tenant = :tenant AND id = :id;

-- name: planned_drop_all
-- Delete the remaining runs of a plan.
DELETE FROM planned WHERE tenant = :tenant AND plan = :plan;

-- name: planned_drop
-- Delete one run of a plan, which was handled.
DELETE FROM planned WHERE tenant = :tenant AND plan = :plan AND execution = :execution;

-- name: planned_next
-- The next runs of a plan to handle.
SELECT execution FROM planned WHERE tenant = :tenant AND plan = :plan ORDER BY execution LIMIT :limit;

-- name: bulk_termination_put
-- Insert a bulk termination.
INSERT INTO bulk_terminations (
    tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, not_found
) VALUES (:tenant, :id, :client, :principal, :address, :reason, :mode, :deadline, :cascade, :paused, :at, :total,
    :not_found);

-- name: bulk_termination_get
-- Read a bulk termination.
SELECT {bulk_termination} FROM bulk_terminations WHERE tenant = :tenant AND id = :id;

-- name: bulk_terminations_page
-- A page of bulk terminations in the order of their ids, newest first.
SELECT {bulk_termination}
FROM bulk_terminations WHERE tenant = :tenant AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: bulk_termination_count
-- Add the results of a batch to the counts.
UPDATE bulk_terminations SET
    accepted = accepted + :accepted, repeated = repeated + :repeated,
    already_finished = already_finished + :already_finished, denied = denied + :denied,
    not_found = not_found + :not_found, below = below + :below
WHERE tenant = :tenant AND id = :id;

-- name: bulk_termination_finish
-- Record the end of a bulk termination.
UPDATE bulk_terminations SET finished_at = :finished_at WHERE tenant = :tenant AND id = :id AND finished_at IS NULL;

-- name: bulk_termination_abort
-- Abort a bulk termination: it terminates no further run.
UPDATE bulk_terminations SET finished_at = :at, aborted_at = :at WHERE tenant = :tenant AND id = :id
    AND finished_at IS NULL;
