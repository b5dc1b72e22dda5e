-- name: plan_put
-- A plan, and how many runs it has.
INSERT INTO termination_plans (tenant, id, client, made_at, expires_at, total) VALUES (:tenant, :id, :client,
    :made_at, :expires_at, :total);

-- name: planned_put
-- One of its runs.
INSERT INTO planned (tenant, plan, execution) VALUES (:tenant, :plan, :execution) ON CONFLICT DO NOTHING;

-- name: plan_get
-- One plan.
SELECT client, expires_at, total, used_at FROM termination_plans WHERE tenant = :tenant AND id = :id;

-- name: plan_use
-- It is carried out, by the one who made it, in time and once.
UPDATE termination_plans SET used_at = :at
WHERE tenant = :tenant AND id = :id AND client = :client AND used_at IS NULL AND expires_at > :at;

-- name: plans_expired
-- Plans that nobody carried out in time.
SELECT id FROM termination_plans WHERE tenant = :tenant AND expires_at <= :until LIMIT :limit;

-- name: plan_drop
-- Gone.
DELETE FROM termination_plans WHERE tenant = :tenant AND id = :id;

-- name: planned_drop_all
-- The runs of a plan, or what is left of them.
DELETE FROM planned WHERE tenant = :tenant AND plan = :plan;

-- name: planned_drop
-- Dealt with.
DELETE FROM planned WHERE tenant = :tenant AND plan = :plan AND execution = :execution;

-- name: planned_next
-- The next runs to deal with.
SELECT execution FROM planned WHERE tenant = :tenant AND plan = :plan ORDER BY execution LIMIT :limit;

-- name: bulk_termination_put
-- An order.
INSERT INTO bulk_terminations (
    tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, not_found
) VALUES (:tenant, :id, :client, :principal, :address, :reason, :mode, :deadline, :cascade, :paused, :at, :total,
    :not_found);

-- name: bulk_termination_get
-- One order.
SELECT {bulk_termination} FROM bulk_terminations WHERE tenant = :tenant AND id = :id;

-- name: bulk_terminations_page
-- In the order of their ids, which is that of their ages, newest first.
SELECT {bulk_termination}
FROM bulk_terminations WHERE tenant = :tenant AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: bulk_termination_count
-- What became of a batch.
UPDATE bulk_terminations SET
    accepted = accepted + :accepted, repeated = repeated + :repeated,
    already_finished = already_finished + :already_finished, denied = denied + :denied,
    not_found = not_found + :not_found, below = below + :below
WHERE tenant = :tenant AND id = :id;

-- name: bulk_termination_finish
-- It is at its end.
UPDATE bulk_terminations SET finished_at = :finished_at WHERE tenant = :tenant AND id = :id AND finished_at IS NULL;

-- name: bulk_termination_abort
-- Nobody is stopped by it any more.
UPDATE bulk_terminations SET finished_at = :at, aborted_at = :at WHERE tenant = :tenant AND id = :id
    AND finished_at IS NULL;
