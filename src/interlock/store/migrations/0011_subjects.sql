-- Whom a run is about: in the data it was started with `user_id`, else `userId`; its own members lie over those of its
-- automation's context. NULL: about nobody in particular, or the data are no longer kept.

ALTER TABLE executions ADD COLUMN subject TEXT;

UPDATE executions SET subject = told.subject
FROM (
    SELECT
        tenant,
        id,
        coalesce(
            iif(
                coalesce(json_type(own, '$.user_id'), json_type(under, '$.user_id')) = 'text',
                nullif(coalesce(own ->> '$.user_id', under ->> '$.user_id'), ''),
                NULL
            ),
            iif(
                coalesce(json_type(own, '$.userId'), json_type(under, '$.userId')) = 'text',
                nullif(coalesce(own ->> '$.userId', under ->> '$.userId'), ''),
                NULL
            )
        ) AS subject
    FROM (
        SELECT e.tenant, e.id, CAST(i.input AS TEXT) AS own, CAST(d.context AS TEXT) -> '$.context' AS under
        FROM executions e
        JOIN inputs i ON i.tenant = e.tenant AND i.execution = e.id
        LEFT JOIN definitions d ON d.tenant = e.tenant AND d.id = e.definition
    )
) told
WHERE executions.tenant = told.tenant AND executions.id = told.id AND told.subject IS NOT NULL;

CREATE INDEX executions_of_subject ON executions (tenant, subject, state, id) WHERE subject IS NOT NULL;
