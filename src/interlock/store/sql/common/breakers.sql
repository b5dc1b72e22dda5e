-- name: breaker_get
-- The breaker of an automation, as it is set and as it stands. A deleted one may still hold runs back.
SELECT breaker_max, breaker_period, breaker_since, tripped_at, tripped_max, tripped_period, tripped_count
FROM automations WHERE tenant = :tenant AND id = :id;

-- name: breaker_trip
-- It trips.
UPDATE automations SET tripped_at = :tripped_at, tripped_max = :tripped_max, tripped_period = :tripped_period,
    tripped_count = :tripped_count
WHERE tenant = :tenant AND id = :id AND tripped_at IS NULL;

-- name: breaker_reset
-- It is closed again, and the window begins anew.
UPDATE automations SET
    breaker_since = :breaker_since, tripped_at = NULL, tripped_max = NULL, tripped_period = NULL, tripped_count = NULL
WHERE tenant = :tenant AND id = :id;

-- name: breaker_last_number
-- The number of the newest start.
SELECT coalesce(max(number), 0) FROM breaker_starts WHERE tenant = :tenant AND automation = :automation;

-- name: breaker_start_at
-- When a start was.
SELECT at FROM breaker_starts WHERE tenant = :tenant AND automation = :automation AND number = :number;

-- name: breaker_start_put
-- One more start.
INSERT INTO breaker_starts (tenant, automation, number, at) VALUES (:tenant, :automation, :number, :at);

-- name: breaker_starts_forget
-- Those that can decide nothing any more.
DELETE FROM breaker_starts WHERE tenant = :tenant AND automation = :automation AND number <= :up_to;

-- name: breaker_starts_within
-- How many starts lie in the window.
SELECT count(*) FROM breaker_starts WHERE tenant = :tenant AND automation = :automation AND at > :since;
