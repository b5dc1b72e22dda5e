-- name: tenants_all
-- All tenants.
SELECT {tenant} FROM tenants ORDER BY id;

-- name: tenant_ids
-- The ids of all tenants.
SELECT id FROM tenants ORDER BY id;

-- name: tenant_get
-- Read a tenant.
SELECT {tenant} FROM tenants WHERE id = :id;

-- name: tenant_named
-- The tenant with a name.
SELECT id FROM tenants WHERE name = :name;

-- name: tenant_next
-- The id for the next tenant.
SELECT coalesce(max(id), 0) + 1 FROM tenants;

-- name: tenant_insert
-- Insert a tenant.
INSERT INTO tenants (id, name, created_at) VALUES (:id, :name, :created_at);

-- name: tenant_of_host
-- The tenant that answers to a host name.
SELECT t.id, t.name, t.created_at, t.automations_disabled, t.revoked_at
FROM tenant_hosts h JOIN tenants t ON t.id = h.tenant WHERE h.host = :host;

-- name: tenant_settings
-- The settings for all runs of a tenant.
SELECT automations_disabled, executions_kept, payloads_kept FROM tenants WHERE id = :id;

-- name: hosts_release
-- Release the host names of a tenant.
DELETE FROM tenant_hosts WHERE tenant = :tenant;

-- name: clients_revoke
-- Revoke all clients of a tenant.
UPDATE clients SET revoked_at = :revoked_at WHERE tenant = :tenant AND revoked_at IS NULL;

-- name: tokens_revoke_all
-- Delete the tokens of a tenant.
DELETE FROM tokens WHERE tenant = :tenant;

-- name: host_owner
-- The tenant that owns a host name.
SELECT tenant FROM tenant_hosts WHERE host = :host;

-- name: host_insert
-- Insert a host name of a tenant.
INSERT INTO tenant_hosts (host, tenant) VALUES (:host, :tenant);

-- name: hosts_of
-- The host names of a tenant.
SELECT host FROM tenant_hosts WHERE tenant = :tenant ORDER BY host;

-- name: clients_of
-- The clients of a tenant.
SELECT id, display_name, public_key, roles, created_at, expires_at, revoked_at, apps
FROM clients WHERE tenant = :tenant ORDER BY id;

-- name: client_get
-- Read a client.
SELECT id, display_name, public_key, roles, created_at, expires_at, revoked_at, apps
FROM clients WHERE tenant = :tenant AND id = :id;

-- name: client_insert
-- Insert a client.
INSERT INTO clients ({client}) VALUES ({:client});

-- name: client_revoke
-- Revoke a client.
UPDATE clients SET revoked_at = :revoked_at WHERE tenant = :tenant AND id = :id AND revoked_at IS NULL;

-- name: token_insert
-- Insert a token.
INSERT INTO tokens (tenant, digest, client, scope, expires_at) VALUES (:tenant, :digest, :client, :scope,
    :expires_at);

-- name: token_get
-- Read a token. Another statement reads its client: together they take a third of the time of a join.
SELECT client, scope, expires_at FROM tokens WHERE tenant = :tenant AND digest = :digest;

-- name: tokens_forget
-- Delete a few expired tokens.
DELETE FROM tokens
WHERE tenant = :tenant AND digest IN (SELECT digest FROM tokens WHERE tenant = :tenant
    AND expires_at <= :until LIMIT 8);

-- name: assertion_insert
-- Insert a used assertion.
INSERT INTO used_assertions (tenant, digest, forget_at) VALUES (:tenant, :digest, :forget_at) ON CONFLICT DO NOTHING;

-- name: assertions_forget
-- Delete a few used assertions that are refused for their age by now.
DELETE FROM used_assertions
WHERE tenant = :tenant AND digest IN (SELECT digest FROM used_assertions WHERE tenant = :tenant
    AND forget_at <= :until LIMIT 8);

-- name: assertions_kept
-- The number of stored assertions.
SELECT assertions_kept FROM tenants WHERE id = :id;

-- name: assertions_count
-- Count one more stored assertion, less those that were just deleted.
UPDATE tenants SET assertions_kept = assertions_kept + :change WHERE id = :id;

-- name: setting_get
-- Read a value of the installation.
SELECT value FROM settings WHERE tenant = 0 AND name = :name;

-- name: setting_keep
-- Store a value of the installation unless it has one.
INSERT INTO settings (tenant, name, value) VALUES (0, :name, :value) ON CONFLICT DO NOTHING;
