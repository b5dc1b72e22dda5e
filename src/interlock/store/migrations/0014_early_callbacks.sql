-- Callbacks that came while their step was being attempted, until the attempt ends: at most one for a run in flight.

CREATE TABLE callbacks (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    output BLOB NOT NULL,
    status INTEGER,
    PRIMARY KEY (tenant, execution, position)
) STRICT, WITHOUT ROWID;
