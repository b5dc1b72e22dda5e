-- name: termination_insert
-- Insert an accepted termination.
INSERT INTO terminations ({termination}) VALUES ({:termination});

-- name: termination_sharpen
-- A repeated termination brings the deadline nearer, or interrupts after all.
UPDATE terminations SET deadline_at = :deadline_at, mode = :mode WHERE tenant = :tenant AND execution = :execution;

-- name: termination_get
-- The termination of a run.
SELECT
    client, principal, address, reason, asked_mode, cascade, deadline, cause, cause_execution, accepted_at,
    deadline_at, mode, found, below
FROM terminations WHERE tenant = :tenant AND execution = :execution;

-- name: termination_below
-- Add to the number of descendants that were terminated.
UPDATE terminations SET below = below + :count WHERE tenant = :tenant AND execution = :execution;

-- name: cascade_put
-- Insert a cascade that one commit could not complete.
INSERT INTO cascades ({cascade}) VALUES ({:cascade}) ON CONFLICT DO NOTHING;

-- name: cascade_next
-- The oldest incomplete cascade.
SELECT {cascade} FROM cascades WHERE tenant = :tenant ORDER BY root, execution LIMIT 1;

-- name: cascade_done
-- Delete a cascade, which has reached all descendants.
DELETE FROM cascades WHERE tenant = :tenant AND root = :root AND execution = :execution;

-- name: cascade_over
-- The cascade, if any, that covers a run: that of its nearest ancestor, in a fenced tree.
WITH RECURSIVE above (id, parent) AS (
    SELECT id, parent FROM executions WHERE tenant = :tenant AND id = :execution
    UNION ALL
    SELECT e.id, e.parent FROM above JOIN executions e ON e.tenant = :tenant AND e.id = above.parent
)
SELECT c.execution, c.client, c.principal, c.address, c.reason, c.mode, c.deadline, c.cause
FROM above JOIN cascades c ON c.tenant = :tenant AND c.root = :root AND c.execution = above.id
WHERE above.id <> :execution LIMIT 1;

-- name: root_fenced
-- Whether a tree is fenced.
SELECT fenced FROM executions WHERE tenant = :tenant AND id = :id;
