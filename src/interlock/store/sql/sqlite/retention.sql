-- name: retention_step_payloads
-- Remove the payloads of its steps. That a step had an error, and what its receiver did too late, stay on record.
UPDATE steps SET
    input = NULL,
    output = NULL,
    sealed_input = NULL,
    sealed_output = NULL,
    handle = NULL,
    error = CASE WHEN error IS NULL THEN NULL ELSE :error END,
    late = CASE WHEN late IS NOT NULL THEN CAST((
        SELECT json_group_array(json_remove(j.value, '$.output', '$.error')) FROM json_each(CAST(late AS TEXT)) j
    ) AS BLOB) END
WHERE tenant = :tenant AND execution = :execution;
