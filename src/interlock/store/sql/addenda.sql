-- name: addendum_insert
-- One more, after all that there are of its run.
INSERT INTO addenda (
    tenant, execution, number, position, attempt, item, finding, note, client, principal, address, at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: addenda_of
-- Those of a run, oldest first.
SELECT number, position, attempt, item, finding, note, client, principal, address, at
FROM addenda WHERE tenant = ? AND execution = ? ORDER BY number;
