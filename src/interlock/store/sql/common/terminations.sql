-- name: termination_insert
-- An accepted order to stop.
INSERT INTO terminations ({termination}) VALUES ({:termination});

-- name: termination_sharpen
-- A repeated order brought the deadline nearer or interrupts after all.
UPDATE terminations SET deadline_at = :deadline_at, mode = :mode WHERE tenant = :tenant AND execution = :execution;

-- name: termination_get
-- The order that stopped, or is stopping, a run.
SELECT
    client, principal, address, reason, asked_mode, cascade, deadline, cause, cause_execution, accepted_at,
    deadline_at, mode, found, below
FROM terminations WHERE tenant = :tenant AND execution = :execution;

-- name: termination_below
-- So many more below it were stopped.
UPDATE terminations SET below = below + :count WHERE tenant = :tenant AND execution = :execution;

-- name: cascade_put
-- An order that one commit could not carry to the end.
INSERT INTO cascades ({cascade}) VALUES ({:cascade}) ON CONFLICT DO NOTHING;

-- name: cascade_next
-- The oldest order that is not at its end.
SELECT {cascade} FROM cascades WHERE tenant = :tenant ORDER BY root, execution LIMIT 1;

-- name: cascade_done
-- An order has reached everybody.
DELETE FROM cascades WHERE tenant = :tenant AND root = :root AND execution = :execution;

-- name: cascade_over
-- The order, if any, that covers a run: its own ancestor's, in a marked tree.
WITH RECURSIVE above (id, parent) AS (
    SELECT id, parent FROM executions WHERE tenant = :tenant AND id = :execution
    UNION ALL
    SELECT e.id, e.parent FROM above JOIN executions e ON e.tenant = :tenant AND e.id = above.parent
)
SELECT c.execution, c.client, c.principal, c.address, c.reason, c.mode, c.deadline, c.cause
FROM above JOIN cascades c ON c.tenant = :tenant AND c.root = :root AND c.execution = above.id
WHERE above.id <> :execution LIMIT 1;

-- name: root_fenced
-- Whether a tree is marked.
SELECT fenced FROM executions WHERE tenant = :tenant AND id = :id;
