-- How long what is recorded of runs is kept. Lengths are microseconds: 395 days for a run, 90 for its payloads.

ALTER TABLE tenants ADD COLUMN executions_kept INTEGER NOT NULL DEFAULT 34128000000000;
ALTER TABLE tenants ADD COLUMN payloads_kept INTEGER NOT NULL DEFAULT 7776000000000;
-- The payloads of runs up to this one are removed, but for those below.
ALTER TABLE tenants ADD COLUMN payloads_removed_to INTEGER NOT NULL DEFAULT 0;

-- Runs that were passed over because they had not ended long enough ago.
CREATE TABLE payloads_later (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    PRIMARY KEY (tenant, execution)
) STRICT, WITHOUT ROWID;
