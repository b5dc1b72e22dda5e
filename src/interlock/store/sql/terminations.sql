-- name: termination_insert
-- An accepted order to stop.
INSERT INTO terminations (
    tenant, execution, client, principal, address, reason, asked_mode, cascade, deadline, cause, cause_execution,
    accepted_at, deadline_at, mode, found
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: termination_sharpen
-- A repeated order brought the deadline nearer or interrupts after all.
UPDATE terminations SET deadline_at = ?, mode = ? WHERE tenant = ? AND execution = ?;

-- name: termination_get
-- The order that stopped, or is stopping, a run.
SELECT
    client, principal, address, reason, asked_mode, cascade, deadline, cause, cause_execution, accepted_at, deadline_at,
    mode, found
FROM terminations WHERE tenant = ? AND execution = ?;
