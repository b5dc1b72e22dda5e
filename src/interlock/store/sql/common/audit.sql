-- name: audit_insert
-- One row at the end of the record.
INSERT INTO audit ({audit}) VALUES ({:audit});

-- name: audit_head
-- The newest seal.
SELECT id, hash FROM audit_seals WHERE tenant = :tenant ORDER BY id DESC LIMIT 1;

-- name: audit_seal
-- One more link of the chain.
INSERT INTO audit_seals (tenant, id, hash) VALUES (:tenant, :id, :hash);

-- name: audit_tenants
-- Whose records there are.
SELECT id FROM tenants ORDER BY id;
