-- What a step said about its effect: the idempotency key that an attempt was announced with (NULL: it sends none), and how far a
-- failed attempt had reached (`rules.outcomes.Reached`). Both used to be worked out from the kind when they were shown: a webhook
-- sends a key, and a failure of it is in doubt if the request may have left and no status came.

ALTER TABLE steps ADD COLUMN key TEXT;
ALTER TABLE steps ADD COLUMN reached TEXT;

UPDATE steps SET
    key = (
        SELECT CAST(i.value AS TEXT) || ':' || e.id || ':' || (s.value ->> '$.stepName') || ':1'
        FROM executions e
        JOIN definitions d ON d.tenant = e.tenant AND d.id = e.definition
        JOIN json_each(CAST(d.steps AS TEXT)) s ON s.key = steps.position AND s.value ->> '$.webhook' IS NOT NULL
        JOIN settings i ON i.tenant = 0 AND i.name = 'installation'
        WHERE e.tenant = steps.tenant AND e.id = steps.execution
    ),
    reached = CASE
        WHEN outcome IS NOT 'FAILED' OR phase IS NULL THEN NULL
        WHEN status IS NOT NULL THEN 'answered'
        WHEN phase IN ('writing', 'waiting', 'reading', 'done') THEN 'unknown'
        ELSE 'not_sent'
    END;
