-- Terminations of many runs by one order: what is planned, and what has been carried out.

CREATE TABLE termination_plans (
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    client TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    total INTEGER NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX termination_plans_age ON termination_plans (tenant, expires_at);

-- The runs of a plan. Those that are to be dealt with, or were found to be none, are all here; what is dealt with goes.
CREATE TABLE planned (
    tenant INTEGER NOT NULL,
    plan TEXT NOT NULL,
    execution INTEGER NOT NULL,
    PRIMARY KEY (tenant, plan, execution)
) STRICT, WITHOUT ROWID;

-- An order has the id of the plan that it carries out.
CREATE TABLE bulk_terminations (
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    client TEXT NOT NULL,
    principal TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    mode TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    cascade INTEGER NOT NULL,
    paused TEXT NOT NULL,
    at INTEGER NOT NULL,
    total INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    repeated INTEGER NOT NULL DEFAULT 0,
    already_finished INTEGER NOT NULL DEFAULT 0,
    denied INTEGER NOT NULL DEFAULT 0,
    not_found INTEGER NOT NULL DEFAULT 0,
    finished_at INTEGER,
    aborted_at INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX bulk_terminations_open ON bulk_terminations (tenant, at, id) WHERE finished_at IS NULL;
