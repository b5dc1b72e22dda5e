-- name: executions_children
-- The runs that one run started.
SELECT {execution}, fenced
FROM executions INDEXED BY executions_of_parent
WHERE tenant = :tenant AND parent IS NOT NULL AND parent = :parent AND id > :after ORDER BY id LIMIT :limit;

-- name: last_executed
-- The creation time of the newest run of a published version: the newest of each state, by one seek.
SELECT max((
    SELECT created_at FROM executions INDEXED BY executions_of_automation
    WHERE tenant = :tenant AND automation = :automation AND state = s.value AND is_draft = 0 ORDER BY id DESC LIMIT 1
)) FROM json_each(:states) s;

-- name: executions_page_of_state
-- A page of the runs in one state that is not DONE, newest first.
SELECT {execution}, fenced
FROM executions INDEXED BY executions_of_state
WHERE tenant = :tenant AND state = :state AND state <> 'DONE' AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: executions_page_of_automation
-- A page of the runs of one automation in one state, newest first.
SELECT {execution}, fenced
FROM executions INDEXED BY executions_of_automation
WHERE tenant = :tenant AND automation = :automation AND state = :state AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: executions_page_of_subject
-- A page of the runs about one person in one state, of all automations or of those in a JSON list, newest first.
SELECT {execution}, fenced
FROM executions INDEXED BY executions_of_subject
WHERE
    tenant = :tenant
    AND (:automations IS NULL OR automation IN (SELECT j.value FROM json_each(:automations) j))
    AND subject IS NOT NULL AND subject = :subject AND state = :state AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: step_late
-- Store evidence beside an outcome: a result that arrived after it.
UPDATE steps SET late = CAST(json_insert(coalesce(CAST(late AS TEXT), '[]'), '$[#]', json(:evidence)) AS BLOB)
WHERE tenant = :tenant AND execution = :execution AND position = :position AND attempt = :attempt;

-- name: admission_automation
-- Whether the automation exists, and whether it has a circuit breaker. Another statement reads the tenant's switch: a
-- join takes twice as long.
SELECT deleted_at, breaker_max OR tripped_at IS NOT NULL FROM automations WHERE tenant = :tenant AND id = :id;

-- name: child_target
-- The automation that a step starts, and whether the run's definition may reach it.
SELECT
    a.definition, a.deleted_at, d.on_demand, t.automations_disabled, a.breaker_max OR a.tripped_at IS NOT NULL,
    p.apps IS NULL OR EXISTS (
        SELECT 1 FROM json_each(p.apps) j
        WHERE j.value = coalesce(json_extract(CAST(a.document AS TEXT), '$.appId'), '')
    ),
    d.context
FROM automations a
JOIN tenants t ON t.id = a.tenant
LEFT JOIN definitions d ON d.tenant = a.tenant AND d.id = a.definition
LEFT JOIN definitions p ON p.tenant = a.tenant AND p.id = :definition
WHERE a.tenant = :tenant AND a.id = :automation;
