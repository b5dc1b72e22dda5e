-- name: execution_insert
-- Insert a run and its subject.
INSERT INTO executions ({execution}, subject) VALUES ({:execution}, :subject);

-- name: admission_context
-- The context of a run's automation, which its trigger data override.
SELECT context FROM definitions WHERE tenant = :tenant AND id = :definition;

-- name: execution_move
-- Update the row as the rules decided, guarded by the epoch and the state that were read.
UPDATE executions SET
    state = :state, epoch = :epoch, step = :step, attempt = :attempt, attempt_epoch = :attempt_epoch, items = :items,
    waiting_for = :waiting_for, wake_at = :wake_at, holder = :holder,
    updated_at = :updated_at, completed_at = :completed_at
WHERE tenant = :tenant AND id = :id AND epoch = :was_epoch AND state = :was_state;

-- name: execution_step
-- The same for a run that moves from one attempt to the next: no indexed column changes, so no index does.
UPDATE executions SET epoch = :epoch, step = :step, attempt = :attempt, attempt_epoch = :attempt_epoch,
    items = :items, holder = :holder, updated_at = :updated_at
WHERE tenant = :tenant AND id = :id AND epoch = :was_epoch AND state = :was_state;

-- name: execution_get
-- Read a run by its key.
SELECT {execution}, fenced FROM executions WHERE tenant = :tenant AND id = :id;

-- name: execution_restored
-- The restore from a backup in which the run was active.
SELECT r.backup, r.known_until, r.restored_at
FROM executions e JOIN restores r ON r.number = e.restore WHERE e.tenant = :tenant AND e.id = :id;

-- name: execution_greatest
-- The greatest id of a tenant.
SELECT max(id) FROM executions WHERE tenant = :tenant;

-- name: executions_due
-- Runs that are due, soonest first, after a time and an id.
SELECT id, wake_at FROM executions
WHERE tenant = :tenant AND wake_at IS NOT NULL AND (wake_at, id) > (:since, :after) AND wake_at <= :until
ORDER BY wake_at, id LIMIT :limit;

-- name: executions_page
-- A page of all runs, newest first.
SELECT {execution}, fenced FROM executions WHERE tenant = :tenant AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: execution_automations
-- The automations that have runs: one seek in the index for each.
WITH RECURSIVE run_of (automation) AS (
    SELECT min(automation) FROM executions WHERE tenant = :tenant
    UNION ALL
    SELECT (SELECT min(automation) FROM executions WHERE tenant = :tenant AND automation > run_of.automation)
    FROM run_of WHERE run_of.automation IS NOT NULL
)
SELECT automation FROM run_of WHERE automation IS NOT NULL;

-- name: input_insert
-- Insert the trigger data of a run.
INSERT INTO inputs (tenant, execution, input, sealed) VALUES (:tenant, :execution, :input, :sealed);

-- name: input_get
-- Read the trigger data of a run with secrets masked, and sealed with its secrets (NULL if it has none).
SELECT input, sealed FROM inputs WHERE tenant = :tenant AND execution = :execution;

-- name: step_open
-- Insert an attempt in flight, or a waiting step.
INSERT INTO steps ({step_opened}) VALUES ({:step_opened});

-- name: step_closed
-- Insert a step that settled in the commit that reached it.
INSERT INTO steps ({step_closed}) VALUES ({:step_closed});

-- name: step_settle
-- Record the outcome of an open attempt. Status and phase of its call are kept: the end of a wait has neither.
UPDATE steps SET
    settled_at = :settled_at, outcome = :outcome, output = :output, error = :error, status = ifnull(:status, status),
    phase = ifnull(:phase, phase), reached = :reached, sealed_output = :sealed_output, handle = NULL, wait_left = NULL
WHERE tenant = :tenant AND execution = :execution AND position = :position AND attempt = :attempt AND outcome IS NULL;

-- name: step_accept
-- Record that the receiver accepted the work and its result comes later. Status and phase of its call are kept.
UPDATE steps SET
    waiting_for = :waiting_for, status = ifnull(:status, status), phase = ifnull(:phase, phase), handle = :handle,
    wait_left = :wait_left
WHERE tenant = :tenant AND execution = :execution AND position = :position AND attempt = :attempt AND outcome IS NULL;

-- name: step_newest
-- The newest attempt at a step.
SELECT attempt, epoch, outcome, late IS NOT NULL FROM steps
WHERE tenant = :tenant AND execution = :execution AND position = :position ORDER BY attempt DESC LIMIT 1;

-- name: callback_keep
-- Store a callback that arrived before its step was settled.
INSERT INTO callbacks (tenant, execution, position, at, output, status, sealed) VALUES (:tenant, :execution, :position,
    :at, :output, :status, :sealed);

-- name: callback_kept
-- Read the stored callback of a step whose attempt is in flight.
SELECT at, output, status, sealed FROM callbacks WHERE tenant = :tenant AND execution = :execution AND position = :position;

-- name: callback_taken
-- Delete a stored callback, which is now part of its step.
DELETE FROM callbacks WHERE tenant = :tenant AND execution = :execution AND position = :position;

-- name: step_announced
-- The input of the first announcement of a step, the input with secrets (NULL if it has none), and the idempotency key.
SELECT input, sealed_input, key FROM steps
WHERE tenant = :tenant AND execution = :execution AND position = :position AND input IS NOT NULL
ORDER BY attempt LIMIT 1;

-- name: item_open
-- Insert an item of an attempt, in the commit that announces the attempt.
INSERT INTO items (tenant, execution, position, attempt, item, name) VALUES (:tenant, :execution, :position,
    :attempt, :item, :name);

-- name: item_settle
-- Record the outcome of an item.
UPDATE items SET settled_at = :settled_at, outcome = :outcome, output = :output, error = :error, reached = :reached,
    again = :again, sealed = :sealed
WHERE tenant = :tenant AND execution = :execution AND position = :position AND attempt = :attempt
    AND item = :item AND outcome IS NULL;

-- name: items_of_attempt
-- The items of one attempt.
SELECT item, outcome FROM items
WHERE tenant = :tenant AND execution = :execution AND position = :position AND attempt = :attempt ORDER BY item;

-- name: items_of_step
-- The items of all attempts at a step, as they are stored.
SELECT position, attempt, item, name, outcome, settled_at, output, error, reached, again, sealed FROM items
WHERE tenant = :tenant AND execution = :execution AND position = :position ORDER BY attempt, item;

-- name: steps_of
-- All attempts at the steps of a run, in order, with secrets masked.
SELECT position, attempt, epoch, started_at, settled_at, outcome, waiting_for, input, output, error, status, phase, late, key,
    reached, handle, wait_left
FROM steps WHERE tenant = :tenant AND execution = :execution ORDER BY position, attempt;

-- name: outputs_of
-- The outputs of the steps of a run with secrets masked, and sealed with their secrets (NULL if there are none).
SELECT position, output, sealed_output FROM steps
WHERE tenant = :tenant AND execution = :execution AND outcome = 'SUCCEEDED' AND output IS NOT NULL
ORDER BY position, attempt;

-- name: items_of
-- The items of all attempts of a run, with secrets masked.
SELECT position, attempt, item, name, outcome, settled_at, output, error, reached, again, sealed FROM items
WHERE tenant = :tenant AND execution = :execution ORDER BY position, attempt, item;

-- name: idempotency_get
-- The digest and the run of an idempotency key.
SELECT body, execution FROM idempotency
WHERE tenant = :tenant AND client = :client AND automation = :automation AND key = :key AND created_at > :since;

-- name: idempotency_put
-- Insert an idempotency key, in the commit of the run that it started.
INSERT INTO idempotency (tenant, client, automation, key, body, execution, created_at)
VALUES (:tenant, :client, :automation, :key, :body, :execution, :created_at)
ON CONFLICT (tenant, client, automation, key)
DO UPDATE SET body = excluded.body, execution = excluded.execution, created_at = excluded.created_at;

-- name: idempotency_forget
-- Delete a batch of idempotency keys that are older than their retention.
DELETE FROM idempotency WHERE (tenant, client, automation, key) IN (
    SELECT tenant, client, automation, key FROM idempotency WHERE tenant = :tenant
    AND created_at <= :until LIMIT :limit
);

-- name: event_get
-- The run that an event started.
SELECT execution FROM trigger_events
WHERE tenant = :tenant AND automation = :automation AND event = :event AND created_at > :since;

-- name: event_put
-- Insert an event, in the commit of the run that it starts.
INSERT INTO trigger_events (tenant, automation, event, execution, created_at)
VALUES (:tenant, :automation, :event, :execution, :created_at)
ON CONFLICT (tenant, automation, event)
DO UPDATE SET execution = excluded.execution, created_at = excluded.created_at;

-- name: events_forget
-- Delete a batch of events that are older than their retention.
DELETE FROM trigger_events WHERE (tenant, automation, event) IN (
    SELECT tenant, automation, event FROM trigger_events WHERE tenant = :tenant AND created_at <= :until LIMIT :limit
);

-- name: admission_tenant
-- Whether the tenant's switch "disable automations" is on.
SELECT automations_disabled FROM tenants WHERE id = :id;
