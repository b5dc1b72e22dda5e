-- name: breaker_get
-- The settings and the state of a circuit breaker. Paused runs of a deleted automation still need them.
SELECT breaker_max, breaker_period, breaker_since, tripped_at, tripped_max, tripped_period, tripped_count
FROM automations WHERE tenant = :tenant AND id = :id;

-- name: breaker_trip
-- Trip a circuit breaker.
UPDATE automations SET tripped_at = :tripped_at, tripped_max = :tripped_max, tripped_period = :tripped_period,
    tripped_count = :tripped_count
WHERE tenant = :tenant AND id = :id AND tripped_at IS NULL;

-- name: breaker_reset
-- Close a circuit breaker and begin a new window.
UPDATE automations SET
    breaker_since = :breaker_since, tripped_at = NULL, tripped_max = NULL, tripped_period = NULL, tripped_count = NULL
WHERE tenant = :tenant AND id = :id;

-- name: breaker_last_number
-- The number of the newest start.
SELECT coalesce(max(number), 0) FROM breaker_starts WHERE tenant = :tenant AND automation = :automation;

-- name: breaker_start_at
-- The time of a start.
SELECT at FROM breaker_starts WHERE tenant = :tenant AND automation = :automation AND number = :number;

-- name: breaker_start_put
-- Insert a start.
INSERT INTO breaker_starts (tenant, automation, number, at) VALUES (:tenant, :automation, :number, :at);

-- name: breaker_starts_forget
-- Delete the starts that can no longer decide anything.
DELETE FROM breaker_starts WHERE tenant = :tenant AND automation = :automation AND number <= :up_to;

-- name: breaker_starts_within
-- The number of starts in the window.
SELECT count(*) FROM breaker_starts WHERE tenant = :tenant AND automation = :automation AND at > :since;
