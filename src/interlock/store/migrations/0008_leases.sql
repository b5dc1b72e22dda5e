-- Runs that are terminated unless somebody keeps saying that they are wanted.

CREATE TABLE leases (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    length INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, execution)
) STRICT, WITHOUT ROWID;

CREATE INDEX leases_due ON leases (tenant, expires_at, execution);
