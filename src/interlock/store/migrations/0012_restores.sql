-- Each time this store was made from a backup, and which executions were not at rest for good in it: what became of them
-- between the backup and the restore is not known here.

CREATE TABLE restores (
    number INTEGER PRIMARY KEY,
    backup TEXT NOT NULL,
    known_until INTEGER NOT NULL,
    restored_at INTEGER NOT NULL
) STRICT;

ALTER TABLE executions ADD COLUMN restore INTEGER;
