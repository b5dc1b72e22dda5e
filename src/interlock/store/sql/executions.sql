-- name: execution_insert
-- A new run, and its subject: `user_id`, else `userId`, its own data over those of its automation; a text, or an integer
-- as its decimal digits (as JSON writes them: SQLite's own numbers end at 63 bits). Most runs have no subject, and few
-- automations have data: those pay for the question alone.
INSERT INTO executions (
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, subject
)
VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
    CASE WHEN coalesce(
        json_type(CAST(?21 AS TEXT), '$.user_id'),
        json_type(CAST(?21 AS TEXT), '$.userId'),
        (SELECT context FROM definitions WHERE tenant = ?1 AND id = ?4)
    ) IS NOT NULL THEN (
        SELECT coalesce(
            CASE json_type(said.user_id, '$')
                WHEN 'text' THEN nullif(said.user_id ->> '$', '')
                WHEN 'integer' THEN said.user_id
            END,
            CASE json_type(said.userid, '$')
                WHEN 'text' THEN nullif(said.userid ->> '$', '')
                WHEN 'integer' THEN said.userid
            END
        )
        FROM (
            SELECT
                coalesce(own -> '$.user_id', under -> '$.user_id') AS user_id,
                coalesce(own -> '$.userId', under -> '$.userId') AS userid
            FROM (
                SELECT
                    CAST(?21 AS TEXT) AS own,
                    (SELECT CAST(context AS TEXT) -> '$.context' FROM definitions WHERE tenant = ?1 AND id = ?4)
                        AS under
            ) given
        ) said
    ) END
);

-- name: execution_move
-- The row as the rules decided it, asserted to stand where it was read.
UPDATE executions SET
    state = ?, epoch = ?, step = ?, attempt = ?, attempt_epoch = ?, items = ?, waiting_for = ?, wake_at = ?, holder = ?,
    updated_at = ?, completed_at = ?
WHERE tenant = ? AND id = ? AND epoch = ? AND state = ?;

-- name: execution_step
-- The same for a run that goes from one attempt to the next: what is indexed stays, and so do the indexes.
UPDATE executions SET epoch = ?, step = ?, attempt = ?, attempt_epoch = ?, items = ?, holder = ?, updated_at = ?
WHERE tenant = ? AND id = ? AND epoch = ? AND state = ?;

-- name: execution_get
-- One run by its key.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions WHERE tenant = ? AND id = ?;

-- name: execution_restored
-- The restore at which it was not at rest for good in the backup.
SELECT r.backup, r.known_until, r.restored_at
FROM executions e JOIN restores r ON r.number = e.restore WHERE e.tenant = ? AND e.id = ?;

-- name: execution_greatest
-- The greatest id of a tenant.
SELECT max(id) FROM executions WHERE tenant = ?;

-- name: executions_due
-- Runs whose moment has come, soonest first, after a time and an id.
SELECT id, wake_at FROM executions
WHERE tenant = ?1 AND wake_at IS NOT NULL AND (wake_at, id) > (?2, ?3) AND wake_at <= ?4 ORDER BY wake_at, id LIMIT ?5;

-- name: executions_children
-- The runs that one run started.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions INDEXED BY executions_of_parent
WHERE tenant = ? AND parent IS NOT NULL AND parent = ? AND id > ? ORDER BY id LIMIT ?;

-- name: last_executed
-- When the newest run of a published version was made: of each state the newest one, by a seek.
SELECT max((
    SELECT created_at FROM executions INDEXED BY executions_of_automation
    WHERE tenant = :tenant AND automation = :automation AND state = s.value AND is_draft = 0 ORDER BY id DESC LIMIT 1
)) FROM json_each(:states) s;

-- name: executions_page
-- All runs, newest first.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions WHERE tenant = ? AND id < ? ORDER BY id DESC LIMIT ?;

-- name: executions_page_of_state
-- Runs in one state that is not DONE, newest first.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions INDEXED BY executions_of_state
WHERE tenant = ? AND state = ? AND state <> 'DONE' AND id < ? ORDER BY id DESC LIMIT ?;

-- name: executions_page_of_automation
-- Runs of one automation in one state, newest first.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions INDEXED BY executions_of_automation
WHERE tenant = ? AND automation = ? AND state = ? AND id < ? ORDER BY id DESC LIMIT ?;

-- name: executions_page_of_subject
-- Runs about one person in one state, of any automation or of those in a JSON list, newest first.
SELECT
    tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
    created_at, updated_at, completed_at, is_draft, parent, root, depth, fenced
FROM executions INDEXED BY executions_of_subject
WHERE
    tenant = ?1
    AND (?2 IS NULL OR automation IN (SELECT j.value FROM json_each(?2) j))
    AND subject IS NOT NULL AND subject = ?3 AND state = ?4 AND id < ?5
ORDER BY id DESC LIMIT ?6;

-- name: execution_automations
-- The automations that have runs, by jumping along the index from one to the next.
WITH RECURSIVE run_of (automation) AS (
    SELECT min(automation) FROM executions WHERE tenant = :tenant
    UNION ALL
    SELECT (SELECT min(automation) FROM executions WHERE tenant = :tenant AND automation > run_of.automation)
    FROM run_of WHERE run_of.automation IS NOT NULL
)
SELECT automation FROM run_of WHERE automation IS NOT NULL;

-- name: input_insert
-- What a run was started with.
INSERT INTO inputs (tenant, execution, input, shown) VALUES (?, ?, ?, ?);

-- name: input_get
-- What a run was started with, and what of it may be shown; NULL: all of it.
SELECT input, shown FROM inputs WHERE tenant = ? AND execution = ?;

-- name: step_open
-- An attempt in flight, or a step that waits.
INSERT INTO steps (tenant, execution, position, attempt, epoch, started_at, waiting_for, input, shown_input, key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: step_closed
-- A step that settled in the commit that reached it.
INSERT INTO steps (
    tenant, execution, position, attempt, epoch, started_at, settled_at, outcome, input, output, error, shown_output
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: step_settle
-- An open attempt gets its outcome. What was known of its call stays: a wait that ends knows neither status nor phase.
UPDATE steps SET
    settled_at = ?, outcome = ?, output = ?, error = ?, status = ifnull(?, status), phase = ifnull(?, phase), reached = ?
WHERE tenant = ? AND execution = ? AND position = ? AND attempt = ? AND outcome IS NULL;

-- name: step_accept
-- The far end took the call and will answer later.
UPDATE steps SET waiting_for = ?, status = ?, phase = ?
WHERE tenant = ? AND execution = ? AND position = ? AND attempt = ? AND outcome IS NULL;

-- name: step_late
-- Evidence beside an outcome: a result that nobody waited for any more.
UPDATE steps SET late = CAST(json_insert(coalesce(CAST(late AS TEXT), '[]'), '$[#]', json(?)) AS BLOB)
WHERE tenant = ? AND execution = ? AND position = ? AND attempt = ?;

-- name: step_newest
-- The newest attempt at a step.
SELECT attempt, epoch, outcome, late IS NOT NULL FROM steps
WHERE tenant = ? AND execution = ? AND position = ? ORDER BY attempt DESC LIMIT 1;

-- name: callback_keep
-- A callback that came before its step was settled.
INSERT INTO callbacks (tenant, execution, position, at, output, status) VALUES (?, ?, ?, ?, ?, ?);

-- name: callback_kept
-- What the step of an attempt in flight was told.
SELECT at, output, status FROM callbacks WHERE tenant = ? AND execution = ? AND position = ?;

-- name: callback_taken
-- It stands with the step now.
DELETE FROM callbacks WHERE tenant = ? AND execution = ? AND position = ?;

-- name: steps_of
-- All that the steps of a run did, in order, as it may be shown. What was answered to a call that carried a secret may repeat
-- it, in whichever attempt.
SELECT
    s.position,
    s.attempt,
    s.epoch,
    s.started_at,
    s.settled_at,
    s.outcome,
    s.waiting_for,
    coalesce(s.shown_input, s.input),
    coalesce(s.shown_output, iif(carried.secret, CAST(json_replace(
        CAST(s.output AS TEXT), '$.response', '[secret]', '$.response_problem', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB), s.output)),
    iif(carried.secret, CAST(json_replace(
        CAST(s.error AS TEXT), '$.body', '[secret]', '$.webhookId', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB), s.error),
    s.status,
    s.phase,
    iif(carried.secret, CAST((
        SELECT json_group_array(json_replace(
            j.value,
            '$.output.response', '[secret]', '$.output.response_problem', '[secret]',
            '$.output.content_encoding', '[secret]', '$.error.body', '[secret]', '$.error.content_encoding', '[secret]'
        ))
        FROM json_each(CAST(s.late AS TEXT)) j
    ) AS BLOB), s.late),
    s.key,
    s.reached
FROM steps s
LEFT JOIN (
    SELECT position, 1 AS secret FROM steps WHERE tenant = ?1 AND execution = ?2 AND shown_input IS NOT NULL GROUP BY position
) carried ON carried.position = s.position
WHERE s.tenant = ?1 AND s.execution = ?2 ORDER BY s.position, s.attempt;

-- name: step_announced
-- The input that was first announced at a step, what of it may be shown (NULL: all of it), and the idempotency key.
SELECT input, shown_input, key FROM steps
WHERE tenant = ? AND execution = ? AND position = ? AND input IS NOT NULL ORDER BY attempt LIMIT 1;

-- name: outputs_of
-- What the steps of a run returned, and what of it may be shown; NULL: all of it.
SELECT
    s.position,
    s.output,
    coalesce(s.shown_output, iif(EXISTS (
        SELECT 1 FROM steps c
        WHERE
            c.tenant = s.tenant
            AND c.execution = s.execution
            AND c.position = s.position
            AND c.shown_input IS NOT NULL
    ), CAST(json_replace(
        CAST(s.output AS TEXT), '$.response', '[secret]', '$.response_problem', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB), NULL))
FROM steps s
WHERE s.tenant = ? AND s.execution = ? AND s.outcome = 'SUCCEEDED' AND s.output IS NOT NULL
ORDER BY s.position, s.attempt;

-- name: item_open
-- One of several items of an attempt, announced with it.
INSERT INTO items (tenant, execution, position, attempt, item, name) VALUES (?, ?, ?, ?, ?, ?);

-- name: item_settle
-- One of several items has its outcome.
UPDATE items SET settled_at = ?, outcome = ?, output = ?, error = ?
WHERE tenant = ? AND execution = ? AND position = ? AND attempt = ? AND item = ? AND outcome IS NULL;

-- name: items_of_attempt
-- The items of one attempt.
SELECT item, outcome FROM items
WHERE tenant = ? AND execution = ? AND position = ? AND attempt = ? ORDER BY item;

-- name: items_of
-- The items of a run.
SELECT position, attempt, item, name, outcome, settled_at, output, error FROM items
WHERE tenant = ? AND execution = ? ORDER BY position, attempt, item;

-- name: idempotency_get
-- What a caller's key stands for.
SELECT body, execution FROM idempotency
WHERE tenant = ? AND client = ? AND automation = ? AND key = ? AND created_at > ?;

-- name: idempotency_put
-- A caller's key, in the commit of the run it started.
INSERT OR REPLACE INTO idempotency (tenant, client, automation, key, body, execution, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: idempotency_forget
-- A batch of keys older than they are kept.
DELETE FROM idempotency WHERE (tenant, client, automation, key) IN (
    SELECT tenant, client, automation, key FROM idempotency WHERE tenant = ? AND created_at <= ? LIMIT ?
);

-- name: admission_automation
-- Whether there is such an automation, and whether it has a breaker. The tenant's switch is read by another statement: a
-- join takes twice as long.
SELECT deleted_at, breaker_max OR tripped_at IS NOT NULL FROM automations WHERE tenant = ? AND id = ?;

-- name: admission_tenant
-- Whether the tenant's switch "disable automations" is on.
SELECT automations_disabled FROM tenants WHERE id = ?;

-- name: child_target
-- What a step that starts an automation would start, and whether the run's definition may reach it.
SELECT
    a.definition, a.deleted_at, d.triggers, t.automations_disabled, a.breaker_max OR a.tripped_at IS NOT NULL,
    p.apps IS NULL OR EXISTS (
        SELECT 1 FROM json_each(p.apps) j
        WHERE j.value = coalesce(json_extract(CAST(a.document AS TEXT), '$.appId'), '')
    )
FROM automations a
JOIN tenants t ON t.id = a.tenant
LEFT JOIN definitions d ON d.tenant = a.tenant AND d.id = a.definition
LEFT JOIN definitions p ON p.tenant = a.tenant AND p.id = ?3
WHERE a.tenant = ?1 AND a.id = ?2;
