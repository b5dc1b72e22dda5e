-- name: breaker_get
-- The breaker of an automation, as it is set and as it stands. A deleted one may still hold runs back.
SELECT breaker_max, breaker_period, breaker_since, tripped_at, tripped_max, tripped_period, tripped_count
FROM automations WHERE tenant = ? AND id = ?;

-- name: breaker_trip
-- It trips.
UPDATE automations SET tripped_at = ?, tripped_max = ?, tripped_period = ?, tripped_count = ?
WHERE tenant = ? AND id = ? AND tripped_at IS NULL;

-- name: breaker_reset
-- It is closed again, and the window begins anew.
UPDATE automations SET
    breaker_since = ?, tripped_at = NULL, tripped_max = NULL, tripped_period = NULL, tripped_count = NULL
WHERE tenant = ? AND id = ?;

-- name: breaker_last_number
-- The number of the newest start.
SELECT coalesce(max(number), 0) FROM breaker_starts WHERE tenant = ? AND automation = ?;

-- name: breaker_start_at
-- When a start was.
SELECT at FROM breaker_starts WHERE tenant = ? AND automation = ? AND number = ?;

-- name: breaker_start_put
-- One more start.
INSERT INTO breaker_starts (tenant, automation, number, at) VALUES (?, ?, ?, ?);

-- name: breaker_starts_forget
-- Those that can decide nothing any more.
DELETE FROM breaker_starts WHERE tenant = ? AND automation = ? AND number <= ?;

-- name: breaker_starts_within
-- How many starts lie in the window.
SELECT count(*) FROM breaker_starts WHERE tenant = ? AND automation = ? AND at > ?;

-- name: breaker_starts_before
-- The runs of one state that count, newest first, to begin with when a breaker is set.
SELECT created_at FROM executions INDEXED BY executions_of_automation
WHERE tenant = ? AND automation = ? AND state = ? AND is_draft = 0 ORDER BY id DESC LIMIT ?;

-- name: paused_newest
-- The newest run that is held back.
SELECT id FROM executions INDEXED BY executions_of_automation
WHERE tenant = ? AND automation = ? AND state = 'PAUSED_BY_CIRCUIT_BREAKER' ORDER BY id DESC LIMIT 1;
