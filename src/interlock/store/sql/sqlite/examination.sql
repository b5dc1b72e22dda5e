-- name: examined_schema
-- The migrations that the database was made with.
SELECT number, checksum FROM migrations ORDER BY number;

-- name: examined_keys
-- The ids of the keys that the encrypted values need. Such a value is `1`, the id of its key (8 bytes) and the rest.
SELECT DISTINCT substr(value, 2, 8) FROM (
    SELECT sealed AS value FROM inputs
    UNION ALL SELECT sealed_input FROM steps
    UNION ALL SELECT sealed_output FROM steps
    UNION ALL SELECT sealed FROM items
    UNION ALL SELECT sealed FROM callbacks
) WHERE value >= x'31' AND value < x'32';

-- name: examined_clock
-- A stored reading of the clock, by its name.
SELECT value FROM settings WHERE tenant = 0 AND name = :name;

-- name: examined_newest
-- The time of the newest row of all audit records.
SELECT max(at) FROM audit;
