-- Who may do what, what can be run, and the record of what was done. Times are microseconds since 1970.

CREATE TABLE settings (
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    automations_disabled INTEGER NOT NULL DEFAULT 0,
    assertions_kept INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

-- The one key without a tenant in front: the host is what says which tenant is meant.
CREATE TABLE tenant_hosts (
    host TEXT NOT NULL PRIMARY KEY,
    tenant INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tenant_hosts_of_tenant ON tenant_hosts (tenant, host);

CREATE TABLE clients (
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    roles TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    tenant INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    client TEXT NOT NULL,
    scope TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_of_client ON tokens (tenant, client);
CREATE INDEX tokens_age ON tokens (tenant, expires_at);

CREATE TABLE used_assertions (
    tenant INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX used_assertions_age ON used_assertions (tenant, forget_at);

CREATE TABLE automations (
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    document BLOB NOT NULL,
    version INTEGER NOT NULL,
    definition INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX automations_alive ON automations (tenant, id) WHERE deleted_at IS NULL;

-- Never changed and never deleted: a run goes on with the plan it began with.
CREATE TABLE definitions (
    tenant INTEGER NOT NULL,
    id INTEGER NOT NULL,
    automation TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    steps BLOB NOT NULL,
    triggers BLOB NOT NULL,
    context BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX definitions_published ON definitions (tenant, automation, version) WHERE version > 0;
CREATE UNIQUE INDEX definitions_drafts ON definitions (tenant, automation, digest) WHERE version = 0;

CREATE TABLE webhooks (
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    document BLOB NOT NULL,
    url TEXT NOT NULL,
    callback_timeout INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

-- One sequence for all tenants, in the order of the commits: a row goes to the end of the table, which is a quarter of
-- the price of a key with the tenant in front. Reads go through the index.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    at INTEGER NOT NULL,
    client TEXT NOT NULL,
    principal TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    details BLOB
) STRICT;

CREATE INDEX audit_of_tenant ON audit (tenant, id);

CREATE TABLE audit_seals (
    tenant INTEGER NOT NULL,
    id INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
