-- name: planned_app
-- The app that the automation of a run belongs to, even if it is deleted.
SELECT coalesce(json_extract(CAST(a.document AS TEXT), '$.appId'), '')
FROM executions e JOIN automations a ON a.tenant = e.tenant AND a.id = e.automation WHERE e.tenant = :tenant
    AND e.id = :id;

-- name: bulk_termination_next
-- The oldest order that is not at its end.
SELECT {bulk_termination}
FROM bulk_terminations INDEXED BY bulk_terminations_open
WHERE tenant = :tenant AND finished_at IS NULL ORDER BY at, id LIMIT 1;
