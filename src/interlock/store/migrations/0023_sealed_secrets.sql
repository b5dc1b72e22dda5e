-- A document that holds secrets is stored twice: with its secrets masked, in the column that is shown, and with its secrets,
-- sealed by a key that is not in the database. What an earlier release stored in plain text is kept as it is, marked by the
-- format `0`: the members that hold secrets, a line feed, and the document.

ALTER TABLE inputs RENAME COLUMN shown TO sealed;
ALTER TABLE steps RENAME COLUMN shown_input TO sealed_input;
ALTER TABLE steps RENAME COLUMN shown_output TO sealed_output;
ALTER TABLE callbacks ADD COLUMN sealed BLOB;
ALTER TABLE items ADD COLUMN sealed BLOB;

-- The answers to calls that carried a secret.
CREATE TEMP TABLE carried AS
SELECT tenant, execution, position FROM steps WHERE sealed_input IS NOT NULL GROUP BY tenant, execution, position;

UPDATE steps SET
    sealed_output = CASE
        WHEN output IS NULL THEN NULL
        ELSE CAST('0["content_encoding","response","response_problem"]' || char(10) || CAST(output AS TEXT) AS BLOB)
    END,
    output = CAST(json_replace(
        CAST(output AS TEXT), '$.response', '[secret]', '$.response_problem', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB),
    error = CAST(json_replace(
        CAST(error AS TEXT), '$.body', '[secret]', '$.webhookId', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB),
    late = CASE WHEN late IS NOT NULL THEN CAST((
        SELECT json_group_array(json_replace(
            j.value,
            '$.output.response', '[secret]', '$.output.response_problem', '[secret]',
            '$.output.content_encoding', '[secret]', '$.error.body', '[secret]', '$.error.content_encoding', '[secret]'
        ))
        FROM json_each(CAST(late AS TEXT)) j
    ) AS BLOB) END
WHERE (tenant, execution, position) IN (SELECT c.tenant, c.execution, c.position FROM temp.carried c);

UPDATE items SET
    sealed = CASE
        WHEN output IS NULL THEN NULL
        ELSE CAST('0["content_encoding","response","response_problem"]' || char(10) || CAST(output AS TEXT) AS BLOB)
    END,
    output = CAST(json_replace(
        CAST(output AS TEXT), '$.response', '[secret]', '$.response_problem', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB),
    error = CAST(json_replace(
        CAST(error AS TEXT), '$.body', '[secret]', '$.webhookId', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB)
WHERE (tenant, execution, position) IN (SELECT c.tenant, c.execution, c.position FROM temp.carried c);

UPDATE callbacks SET
    sealed = CAST('0["content_encoding","response","response_problem"]' || char(10) || CAST(output AS TEXT) AS BLOB),
    output = CAST(json_replace(
        CAST(output AS TEXT), '$.response', '[secret]', '$.response_problem', '[secret]', '$.content_encoding', '[secret]'
    ) AS BLOB)
WHERE (tenant, execution, position) IN (SELECT c.tenant, c.execution, c.position FROM temp.carried c);

-- The inputs of steps that carried one, the results that were secret, and what children were started with.
UPDATE steps SET
    input = sealed_input,
    sealed_input = CAST('0[]' || char(10) || CAST(input AS TEXT) AS BLOB)
WHERE sealed_input IS NOT NULL;

UPDATE steps SET
    output = sealed_output,
    sealed_output = CAST('0' || (
        SELECT json_group_array(j.key) FROM json_each(CAST(sealed_output AS TEXT)) j WHERE instr(j.value, '[secret]') > 0
    ) || char(10) || CAST(output AS TEXT) AS BLOB)
WHERE
    sealed_output IS NOT NULL
    AND (tenant, execution, position) NOT IN (SELECT c.tenant, c.execution, c.position FROM temp.carried c);

UPDATE inputs SET
    input = sealed,
    sealed = CAST('0' || (
        SELECT json_group_array(j.key) FROM json_each(CAST(sealed AS TEXT)) j WHERE instr(j.value, '[secret]') > 0
    ) || char(10) || CAST(input AS TEXT) AS BLOB)
WHERE sealed IS NOT NULL;

-- A child that was started for a secret subject: a secret names none.
UPDATE executions SET subject = NULL WHERE subject = '[secret]' AND EXISTS (
    SELECT 1 FROM inputs i WHERE i.tenant = executions.tenant AND i.execution = executions.id AND i.sealed IS NOT NULL
);

DROP TABLE temp.carried;
