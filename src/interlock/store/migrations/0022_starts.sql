-- What a trigger needs to start a run once: whether the automation is enabled and when its schedule fires next, both beside
-- the document so that the commit of the start can check and move them, and the ids of the events that have started runs.

ALTER TABLE automations ADD COLUMN enabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE automations ADD COLUMN next_fire_at INTEGER;

UPDATE automations SET enabled = coalesce(json_extract(CAST(document AS TEXT), '$.enabled'), 0);

CREATE TABLE trigger_events (
    tenant INTEGER NOT NULL,
    automation TEXT NOT NULL,
    event TEXT NOT NULL,
    execution INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, automation, event)
) STRICT, WITHOUT ROWID;

CREATE INDEX trigger_events_age ON trigger_events (tenant, created_at);
