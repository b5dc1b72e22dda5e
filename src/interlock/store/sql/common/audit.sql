-- name: audit_insert
-- Append a row to the record.
INSERT INTO audit ({audit}) VALUES ({:audit});

-- name: audit_head
-- The newest seal.
SELECT id, hash FROM audit_seals WHERE tenant = :tenant ORDER BY id DESC LIMIT 1;

-- name: audit_seal
-- Seal a row.
INSERT INTO audit_seals (tenant, id, hash) VALUES (:tenant, :id, :hash);

-- name: audit_tenants
-- The tenants that have records.
SELECT id FROM tenants ORDER BY id;
