-- The circuit breaker of an automation, and work on many runs at once that outlives a restart.

ALTER TABLE automations ADD COLUMN breaker_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE automations ADD COLUMN breaker_period TEXT NOT NULL DEFAULT '';
-- The trailing window never reaches back behind this moment.
ALTER TABLE automations ADD COLUMN breaker_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE automations ADD COLUMN tripped_at INTEGER;
-- As they were when it tripped.
ALTER TABLE automations ADD COLUMN tripped_max INTEGER;
ALTER TABLE automations ADD COLUMN tripped_period TEXT;
ALTER TABLE automations ADD COLUMN tripped_count INTEGER;

-- The newest starts of an automation that has a breaker, numbered, as many as it permits: whether one more would be too
-- many is a look at a single row.
CREATE TABLE breaker_starts (
    tenant INTEGER NOT NULL,
    automation TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, automation, number)
) STRICT, WITHOUT ROWID;

-- What was decided about many runs at once. `up_to` is the newest run that is meant.
CREATE TABLE bulk_actions (
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    automation TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('run_paused', 'cancel_paused', 'terminate_active')),
    client TEXT NOT NULL,
    principal TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    up_to INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX bulk_actions_open ON bulk_actions (tenant, at, id) WHERE finished_at IS NULL;

-- Nothing asks for it: trees are walked from parent to child.
DROP INDEX executions_of_root;
