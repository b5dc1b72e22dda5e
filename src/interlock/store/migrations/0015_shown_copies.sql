-- What may be shown of a document that holds secrets, beside the document; NULL: the document itself. A secret result used to be
-- wrapped inside the output, as {"interlock.secret": value}, which any receiver could answer with as well. Which results are
-- secret, the definition says: those, and no others, are unwrapped.

ALTER TABLE inputs ADD COLUMN shown BLOB;

ALTER TABLE steps ADD COLUMN shown_input BLOB;
ALTER TABLE steps ADD COLUMN shown_output BLOB;

CREATE TEMP TABLE wrapped AS
SELECT s.tenant, s.execution, s.position, s.attempt, j.key AS name, j.fullkey AS path
FROM steps s
JOIN executions e ON e.tenant = s.tenant AND e.id = s.execution
LEFT JOIN definitions d ON d.tenant = e.tenant AND d.id = e.definition
JOIN json_each(CASE WHEN json_valid(CAST(s.output AS TEXT), 2) THEN CAST(s.output AS TEXT) ELSE '{}' END) j
WHERE
    instr(s.output, CAST('"interlock.secret"' AS BLOB)) > 0
    AND j.type = 'object'
    AND json_type(j.value, '$."interlock.secret"') IS NOT NULL
    AND (
        d.id IS NULL
        OR EXISTS (
            SELECT 1
            FROM json_each(CAST(d.steps AS TEXT), '$[' || s.position || '].evaluateExpressions.expressions') x
            WHERE x.value ->> '$.key' = j.key AND x.value ->> '$.isSecret'
        )
    );

UPDATE steps SET
    shown_output = (
        SELECT CAST(json_group_object(
            j.key, CASE WHEN w.name IS NULL THEN json(CAST(steps.output AS TEXT) -> j.fullkey) ELSE '[secret]' END
        ) AS BLOB)
        FROM json_each(CAST(steps.output AS TEXT)) j
        LEFT JOIN temp.wrapped w ON
            w.tenant = steps.tenant
            AND w.execution = steps.execution
            AND w.position = steps.position
            AND w.attempt = steps.attempt
            AND w.name = j.key
    ),
    output = (
        SELECT CAST(json_group_object(
            j.key,
            json(
                CAST(steps.output AS TEXT)
                -> CASE WHEN w.name IS NULL THEN j.fullkey ELSE j.fullkey || '."interlock.secret"' END
            )
        ) AS BLOB)
        FROM json_each(CAST(steps.output AS TEXT)) j
        LEFT JOIN temp.wrapped w ON
            w.tenant = steps.tenant
            AND w.execution = steps.execution
            AND w.position = steps.position
            AND w.attempt = steps.attempt
            AND w.name = j.key
    )
WHERE (tenant, execution, position, attempt) IN (SELECT w.tenant, w.execution, w.position, w.attempt FROM temp.wrapped w);

DROP TABLE temp.wrapped;
