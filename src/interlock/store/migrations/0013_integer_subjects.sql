-- A subject that was given as an integer is its decimal digits: runs from before had none, or took the second name.

UPDATE executions SET subject = told.subject
FROM (
    SELECT
        said.tenant,
        said.id,
        coalesce(
            CASE json_type(said.user_id, '$')
                WHEN 'text' THEN nullif(said.user_id ->> '$', '')
                WHEN 'integer' THEN said.user_id
            END,
            CASE json_type(said.userid, '$')
                WHEN 'text' THEN nullif(said.userid ->> '$', '')
                WHEN 'integer' THEN said.userid
            END
        ) AS subject
    FROM (
        SELECT
            given.tenant,
            given.id,
            coalesce(given.own -> '$.user_id', given.under -> '$.user_id') AS user_id,
            coalesce(given.own -> '$.userId', given.under -> '$.userId') AS userid
        FROM (
            SELECT e.tenant, e.id, CAST(i.input AS TEXT) AS own, CAST(d.context AS TEXT) -> '$.context' AS under
            FROM executions e
            JOIN inputs i ON i.tenant = e.tenant AND i.execution = e.id
            LEFT JOIN definitions d ON d.tenant = e.tenant AND d.id = e.definition
            WHERE json_valid(CAST(i.input AS TEXT), 2)
        ) given
        WHERE 'integer' IN (
            json_type(given.own, '$.user_id'),
            json_type(given.own, '$.userId'),
            json_type(given.under, '$.user_id'),
            json_type(given.under, '$.userId')
        )
    ) said
) told
WHERE executions.tenant = told.tenant AND executions.id = told.id AND told.subject IS NOT NULL;
