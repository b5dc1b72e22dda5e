-- name: tenants_all
-- Every tenant.
SELECT {tenant} FROM tenants ORDER BY id;

-- name: tenant_ids
-- The ids of every tenant.
SELECT id FROM tenants ORDER BY id;

-- name: tenant_get
-- One tenant.
SELECT {tenant} FROM tenants WHERE id = :id;

-- name: tenant_named
-- The tenant of a name.
SELECT id FROM tenants WHERE name = :name;

-- name: tenant_next
-- The id for the next tenant.
SELECT coalesce(max(id), 0) + 1 FROM tenants;

-- name: tenant_insert
-- A new tenant.
INSERT INTO tenants (id, name, created_at) VALUES (:id, :name, :created_at);

-- name: tenant_of_host
-- The tenant that answers to a host.
SELECT t.id, t.name, t.created_at, t.automations_disabled, t.revoked_at
FROM tenant_hosts h JOIN tenants t ON t.id = h.tenant WHERE h.host = :host;

-- name: tenant_settings
-- What is set for all runs of a tenant.
SELECT automations_disabled, executions_kept, payloads_kept FROM tenants WHERE id = :id;

-- name: hosts_release
-- The names of a tenant are free again.
DELETE FROM tenant_hosts WHERE tenant = :tenant;

-- name: clients_revoke
-- None of a tenant's clients is let in any more.
UPDATE clients SET revoked_at = :revoked_at WHERE tenant = :tenant AND revoked_at IS NULL;

-- name: tokens_revoke_all
-- The tokens of a tenant go with it.
DELETE FROM tokens WHERE tenant = :tenant;

-- name: host_owner
-- Who has a host.
SELECT tenant FROM tenant_hosts WHERE host = :host;

-- name: host_insert
-- One more name that a tenant answers to.
INSERT INTO tenant_hosts (host, tenant) VALUES (:host, :tenant);

-- name: hosts_of
-- The names that a tenant answers to.
SELECT host FROM tenant_hosts WHERE tenant = :tenant ORDER BY host;

-- name: clients_of
-- The clients of a tenant.
SELECT id, display_name, public_key, roles, created_at, expires_at, revoked_at, apps
FROM clients WHERE tenant = :tenant ORDER BY id;

-- name: client_get
-- One client.
SELECT id, display_name, public_key, roles, created_at, expires_at, revoked_at, apps
FROM clients WHERE tenant = :tenant AND id = :id;

-- name: client_insert
-- A new client.
INSERT INTO clients ({client}) VALUES ({:client});

-- name: client_revoke
-- A client is let in no more.
UPDATE clients SET revoked_at = :revoked_at WHERE tenant = :tenant AND id = :id AND revoked_at IS NULL;

-- name: token_insert
-- A new token.
INSERT INTO tokens (tenant, digest, client, scope, expires_at) VALUES (:tenant, :digest, :client, :scope,
    :expires_at);

-- name: token_get
-- A token. Its client is read by a statement of its own: together they take a third of the time of a join.
SELECT client, scope, expires_at FROM tokens WHERE tenant = :tenant AND digest = :digest;

-- name: tokens_forget
-- A few tokens that are past their time.
DELETE FROM tokens
WHERE tenant = :tenant AND digest IN (SELECT digest FROM tokens WHERE tenant = :tenant
    AND expires_at <= :until LIMIT 8);

-- name: assertion_insert
-- An assertion is used up.
INSERT INTO used_assertions (tenant, digest, forget_at) VALUES (:tenant, :digest, :forget_at) ON CONFLICT DO NOTHING;

-- name: assertions_forget
-- A few used assertions that would be refused for their age by now.
DELETE FROM used_assertions
WHERE tenant = :tenant AND digest IN (SELECT digest FROM used_assertions WHERE tenant = :tenant
    AND forget_at <= :until LIMIT 8);

-- name: assertions_kept
-- How many used assertions are remembered.
SELECT assertions_kept FROM tenants WHERE id = :id;

-- name: assertions_count
-- Count one more, and those just forgotten less.
UPDATE tenants SET assertions_kept = assertions_kept + :change WHERE id = :id;

-- name: setting_get
-- A value that belongs to the installation.
SELECT value FROM settings WHERE tenant = 0 AND name = :name;

-- name: setting_keep
-- Keep a value unless there is one.
INSERT INTO settings (tenant, name, value) VALUES (0, :name, :value) ON CONFLICT DO NOTHING;
