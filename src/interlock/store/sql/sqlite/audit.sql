-- name: audit_rows
-- The record of a tenant in order, with its seals. Texts are read as bytes: a changed one may not be UTF-8.
SELECT
    a.id, a.at, CAST(a.client AS BLOB), CAST(a.principal AS BLOB), CAST(a.address AS BLOB), CAST(a.action AS BLOB),
    CAST(a.target AS BLOB), CAST(a.outcome AS BLOB), CAST(a.reason AS BLOB), a.details, s.hash
FROM audit a LEFT JOIN audit_seals s ON s.tenant = a.tenant AND s.id = a.id
WHERE a.tenant = :tenant AND a.id > :after ORDER BY a.id LIMIT :limit;

-- name: audit_unsealed
-- The oldest rows after the newest seal.
SELECT
    id, at, CAST(client AS BLOB), CAST(principal AS BLOB), CAST(address AS BLOB), CAST(action AS BLOB),
    CAST(target AS BLOB), CAST(outcome AS BLOB), CAST(reason AS BLOB), details, NULL
FROM audit
WHERE tenant = :tenant AND id > (SELECT coalesce(max(id), 0) FROM audit_seals WHERE tenant = :tenant)
ORDER BY id LIMIT :limit;
