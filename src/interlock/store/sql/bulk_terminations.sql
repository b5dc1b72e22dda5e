-- name: plan_put
-- A plan, and how many runs it has.
INSERT INTO termination_plans (tenant, id, client, made_at, expires_at, total) VALUES (?, ?, ?, ?, ?, ?);

-- name: planned_put
-- One of its runs.
INSERT OR IGNORE INTO planned (tenant, plan, execution) VALUES (?, ?, ?);

-- name: plan_get
-- One plan.
SELECT client, expires_at, total, used_at FROM termination_plans WHERE tenant = ? AND id = ?;

-- name: plan_use
-- It is carried out, by the one who made it, in time and once.
UPDATE termination_plans SET used_at = ?1
WHERE tenant = ?2 AND id = ?3 AND client = ?4 AND used_at IS NULL AND expires_at > ?1;

-- name: plans_expired
-- Plans that nobody carried out in time.
SELECT id FROM termination_plans WHERE tenant = ? AND expires_at <= ? LIMIT ?;

-- name: plan_drop
-- Gone.
DELETE FROM termination_plans WHERE tenant = ? AND id = ?;

-- name: planned_drop_all
-- The runs of a plan, or what is left of them.
DELETE FROM planned WHERE tenant = ? AND plan = ?;

-- name: planned_drop
-- Dealt with.
DELETE FROM planned WHERE tenant = ? AND plan = ? AND execution = ?;

-- name: planned_next
-- The next runs to deal with.
SELECT execution FROM planned WHERE tenant = ? AND plan = ? ORDER BY execution LIMIT ?;

-- name: planned_app
-- The app that the automation of a run belongs to, even if it is deleted.
SELECT coalesce(json_extract(CAST(a.document AS TEXT), '$.appId'), '')
FROM executions e JOIN automations a ON a.tenant = e.tenant AND a.id = e.automation WHERE e.tenant = ? AND e.id = ?;

-- name: bulk_termination_put
-- An order.
INSERT INTO bulk_terminations (
    tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, not_found
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: bulk_termination_get
-- One order.
SELECT
    tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, accepted, repeated,
    already_finished, denied, not_found, finished_at, aborted_at, below
FROM bulk_terminations WHERE tenant = ? AND id = ?;

-- name: bulk_terminations_page
-- In the order of their ids, which is that of their ages, newest first.
SELECT
    tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, accepted, repeated,
    already_finished, denied, not_found, finished_at, aborted_at, below
FROM bulk_terminations WHERE tenant = ? AND id < ? ORDER BY id DESC LIMIT ?;

-- name: bulk_termination_next
-- The oldest order that is not at its end.
SELECT
    tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, accepted, repeated,
    already_finished, denied, not_found, finished_at, aborted_at, below
FROM bulk_terminations INDEXED BY bulk_terminations_open
WHERE tenant = ? AND finished_at IS NULL ORDER BY at, id LIMIT 1;

-- name: bulk_termination_count
-- What became of a batch.
UPDATE bulk_terminations SET
    accepted = accepted + ?, repeated = repeated + ?, already_finished = already_finished + ?, denied = denied + ?,
    not_found = not_found + ?, below = below + ?
WHERE tenant = ? AND id = ?;

-- name: bulk_termination_finish
-- It is at its end.
UPDATE bulk_terminations SET finished_at = ? WHERE tenant = ? AND id = ? AND finished_at IS NULL;

-- name: bulk_termination_abort
-- Nobody is stopped by it any more.
UPDATE bulk_terminations SET finished_at = ?, aborted_at = ? WHERE tenant = ? AND id = ? AND finished_at IS NULL;
