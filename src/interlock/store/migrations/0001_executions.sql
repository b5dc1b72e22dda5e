-- Runs, what their steps did, and how they were stopped. Times are microseconds since 1970.

CREATE TABLE executions (
    tenant INTEGER NOT NULL,
    id INTEGER NOT NULL,
    automation TEXT NOT NULL,
    definition INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN (
        'PENDING', 'PROCESS_STEP', 'WAITING', 'PAUSED_BY_CIRCUIT_BREAKER', 'STOPPING', 'DONE', 'ERROR', 'TERMINATE'
    )),
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    attempt_epoch INTEGER NOT NULL,
    items INTEGER NOT NULL,
    waiting_for TEXT,
    wake_at INTEGER,
    holder TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    completed_at INTEGER,
    is_draft INTEGER NOT NULL,
    parent INTEGER,
    root INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    fenced INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX executions_of_automation ON executions (tenant, automation, state, id);
-- What is done is by far the most, and is found by its automation: a run that goes through leaves nothing here.
CREATE INDEX executions_of_state ON executions (tenant, state, id) WHERE state <> 'DONE';
CREATE INDEX executions_due ON executions (tenant, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX executions_of_parent ON executions (tenant, parent, id) WHERE parent IS NOT NULL;
CREATE INDEX executions_of_root ON executions (tenant, root, id) WHERE parent IS NOT NULL;

CREATE TABLE inputs (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    input BLOB NOT NULL,
    PRIMARY KEY (tenant, execution)
) STRICT, WITHOUT ROWID;

CREATE TABLE steps (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    position INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    settled_at INTEGER,
    outcome TEXT,
    waiting_for TEXT,
    input BLOB,
    output BLOB,
    error BLOB,
    status INTEGER,
    phase TEXT,
    late BLOB,
    PRIMARY KEY (tenant, execution, position, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE items (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    position INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    item INTEGER NOT NULL,
    name TEXT NOT NULL,
    settled_at INTEGER,
    outcome TEXT,
    output BLOB,
    error BLOB,
    PRIMARY KEY (tenant, execution, position, attempt, item)
) STRICT, WITHOUT ROWID;

CREATE TABLE terminations (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    client TEXT NOT NULL,
    principal TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    asked_mode TEXT NOT NULL,
    cascade INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    cause TEXT NOT NULL,
    cause_execution INTEGER,
    accepted_at INTEGER NOT NULL,
    deadline_at INTEGER NOT NULL,
    mode TEXT NOT NULL,
    found TEXT NOT NULL,
    PRIMARY KEY (tenant, execution)
) STRICT, WITHOUT ROWID;

-- Orders to stop everything below a run that one commit could not reach; the root of such a tree is marked `fenced`.
CREATE TABLE cascades (
    tenant INTEGER NOT NULL,
    root INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    client TEXT NOT NULL,
    principal TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    mode TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    cause TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, root, execution)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    tenant INTEGER NOT NULL,
    client TEXT NOT NULL,
    automation TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    execution INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, client, automation, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency (tenant, created_at);
