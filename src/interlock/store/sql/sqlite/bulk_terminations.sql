-- name: planned_app
-- The app of a run's automation, even of a deleted one.
SELECT coalesce(json_extract(CAST(a.document AS TEXT), '$.appId'), '')
FROM executions e JOIN automations a ON a.tenant = e.tenant AND a.id = e.automation WHERE e.tenant = :tenant
    AND e.id = :id;

-- name: bulk_termination_next
-- The oldest bulk termination that has not ended.
SELECT {bulk_termination}
FROM bulk_terminations INDEXED BY bulk_terminations_open
WHERE tenant = :tenant AND finished_at IS NULL ORDER BY at, id LIMIT 1;
