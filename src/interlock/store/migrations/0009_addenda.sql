-- What somebody learned, after the end of a run, of a step whose outcome was in doubt. Rows are added and never changed.

CREATE TABLE addenda (
    tenant INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    item TEXT NOT NULL,
    finding TEXT NOT NULL CHECK (finding IN ('HAPPENED', 'DID_NOT_HAPPEN', 'STILL_UNKNOWN')),
    note TEXT NOT NULL,
    client TEXT NOT NULL,
    principal TEXT NOT NULL,
    address TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, execution, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER addenda_are_not_edited BEFORE UPDATE ON addenda
BEGIN
    SELECT raise(ABORT, 'an addendum is never edited');
END;
