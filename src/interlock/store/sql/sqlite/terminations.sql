-- name: doomed_create
-- The runs that the statements below act on, in this transaction.
CREATE TEMP TABLE IF NOT EXISTS doomed (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    deadline_at INTEGER NOT NULL
);

-- name: doomed_clear
-- Empty the table.
DELETE FROM temp.doomed;

-- name: doomed_tree
-- Choose all active descendants of a run; the search goes through terminal ones to their children.
WITH RECURSIVE below (id, state, epoch, step, attempt) AS (
    SELECT id, state, epoch, step, attempt FROM executions INDEXED BY executions_of_parent
    WHERE tenant = :tenant AND parent IS NOT NULL AND parent = :execution
    UNION ALL
    SELECT e.id, e.state, e.epoch, e.step, e.attempt FROM below
    CROSS JOIN executions e INDEXED BY executions_of_parent ON e.tenant = :tenant AND e.parent IS NOT NULL
    AND e.parent = below.id
)
INSERT INTO temp.doomed
SELECT below.id, below.state, below.epoch, below.step, below.attempt, min(coalesce(t.deadline_at, :deadline_at),
    :deadline_at)
FROM below LEFT JOIN terminations t ON t.tenant = :tenant AND t.execution = below.id
WHERE below.state NOT IN ('DONE', 'ERROR', 'TERMINATE')
    AND NOT (
        below.state = 'STOPPING' AND t.deadline_at <= :deadline_at AND (t.mode = 'interrupt' OR :mode = 'drain')
    )
GROUP BY below.id
LIMIT :most;

-- name: doomed_batch
-- Choose runs by their ids, without terminal ones.
INSERT INTO temp.doomed
SELECT e.id, e.state, e.epoch, e.step, e.attempt, min(coalesce(t.deadline_at, :deadline_at), :deadline_at)
FROM json_each(:ids) j
CROSS JOIN executions e ON e.tenant = :tenant AND e.id = j.value
LEFT JOIN terminations t ON t.tenant = e.tenant AND t.execution = e.id
WHERE e.state NOT IN ('DONE', 'ERROR', 'TERMINATE')
    AND NOT (e.state = 'STOPPING' AND t.deadline_at <= :deadline_at AND (t.mode = 'interrupt' OR :mode = 'drain'))
GROUP BY e.id;

-- name: batch_states
-- The states of runs, by their ids.
SELECT e.id, e.state FROM json_each(:ids) j CROSS JOIN executions e ON e.tenant = :tenant AND e.id = j.value
ORDER BY e.id;

-- name: doomed_count
-- The number of chosen runs.
SELECT count(*) FROM temp.doomed;

-- name: doomed_terminations
-- Insert the termination of each chosen run.
INSERT INTO terminations ({termination})
SELECT
    :tenant, id, :client, :principal, :address, :reason, :mode, :cascade, :deadline, :cause, :cause_execution, :at,
    CASE state WHEN 'PROCESS_STEP' THEN :deadline_at ELSE :at END, :mode, state
FROM temp.doomed WHERE state <> 'STOPPING';

-- name: doomed_sharpen
-- A repeated termination brings the deadline nearer, or interrupts after all.
UPDATE terminations SET
    deadline_at = d.deadline_at,
    mode = CASE :mode WHEN 'interrupt' THEN 'interrupt' ELSE terminations.mode END
FROM temp.doomed d
WHERE terminations.tenant = :tenant AND terminations.execution IN (SELECT id FROM temp.doomed)
    AND d.id = terminations.execution AND d.state = 'STOPPING';

-- name: doomed_abandon
-- Abandon attempts in flight whose deadline is now: their outcome is unknown, unless a callback for the step is stored.
UPDATE steps SET settled_at = :at, outcome = iif(k.output IS NULL, 'ABANDONED', 'SUCCEEDED'), output = k.output
FROM temp.doomed d
LEFT JOIN callbacks k ON k.tenant = :tenant AND k.execution = d.id AND k.position = d.step
WHERE steps.tenant = :tenant AND steps.execution IN (SELECT id FROM temp.doomed)
    AND d.id = steps.execution AND d.step = steps.position AND d.attempt = steps.attempt
    AND d.state IN ('PROCESS_STEP', 'STOPPING') AND d.deadline_at <= :at AND steps.outcome IS NULL;

-- name: doomed_callbacks
-- Use the stored callbacks as the outcomes of these steps.
DELETE FROM callbacks
WHERE tenant = :tenant AND execution IN (
    SELECT id FROM temp.doomed WHERE state IN ('PROCESS_STEP', 'STOPPING') AND deadline_at <= :at
);

-- name: doomed_move
-- The same transition as for one run: terminal at once, or stopping until the attempt in flight has settled.
UPDATE executions SET
    state = CASE WHEN d.state IN ('PROCESS_STEP', 'STOPPING')
    AND d.deadline_at > :at THEN 'STOPPING' ELSE 'TERMINATE' END,
    epoch = executions.epoch + CASE WHEN d.state = 'STOPPING' AND d.deadline_at > :at THEN 0 ELSE 1 END,
    attempt_epoch = CASE
        WHEN d.state IN ('PROCESS_STEP', 'STOPPING') AND d.deadline_at > :at THEN executions.attempt_epoch ELSE 0
    END,
    items = CASE WHEN d.state IN ('PROCESS_STEP', 'STOPPING')
    AND d.deadline_at > :at THEN executions.items ELSE 0 END,
    waiting_for = CASE
        WHEN d.state IN ('PROCESS_STEP', 'STOPPING') AND d.deadline_at > :at THEN 'deadline' ELSE NULL
    END,
    wake_at = CASE WHEN d.state IN ('PROCESS_STEP', 'STOPPING')
    AND d.deadline_at > :at THEN d.deadline_at ELSE NULL END,
    updated_at = :at,
    completed_at = CASE WHEN d.state IN ('PROCESS_STEP', 'STOPPING') AND d.deadline_at > :at THEN NULL ELSE :at END
FROM temp.doomed d
WHERE executions.tenant = :tenant AND executions.id IN (SELECT id FROM temp.doomed)
    AND d.id = executions.id AND d.state = executions.state AND d.epoch = executions.epoch;

-- name: doomed_in_flight
-- The runs whose attempts are interrupted, with their new epoch and state.
SELECT d.id, e.epoch, e.state, d.deadline_at FROM temp.doomed d CROSS JOIN executions e ON e.tenant = :tenant
    AND e.id = d.id
WHERE d.state IN ('PROCESS_STEP', 'STOPPING');

-- name: doomed_all
-- All chosen runs, with their states.
SELECT id, state FROM temp.doomed ORDER BY id;

-- name: cascade_fence
-- Fence the root of a tree that a cascade has not reached as a whole.
UPDATE executions SET fenced = 1 WHERE tenant = :tenant AND id = :id;

-- name: cascade_unfence
-- Remove the fence with the last cascade of the tree.
UPDATE executions SET fenced = 0
WHERE tenant = :tenant AND id = :root
    AND NOT EXISTS (SELECT 1 FROM cascades WHERE tenant = :tenant AND root = :root);

-- name: doomed_drop
-- Leave one run for the next batch.
DELETE FROM temp.doomed WHERE id = :id;
