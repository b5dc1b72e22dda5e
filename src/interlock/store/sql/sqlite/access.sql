-- name: tenants_disabled
-- The tenants whose switch "disable automations" is on.
SELECT id FROM tenants WHERE automations_disabled <> 0;

-- name: tenant_revoke
-- Revoke a tenant, and disable its runs.
UPDATE tenants SET revoked_at = :revoked_at, automations_disabled = 1 WHERE id = :id AND revoked_at IS NULL;

-- name: tenant_set
-- Change a setting of a tenant.
UPDATE tenants SET
    automations_disabled = CASE WHEN revoked_at IS NULL THEN :automations_disabled ELSE 1 END,
    executions_kept = :executions_kept, payloads_kept = :payloads_kept
WHERE id = :id;

-- name: tokens_revoke
-- Delete the tokens of a client.
DELETE FROM tokens INDEXED BY tokens_of_client WHERE tenant = :tenant AND client = :client;
