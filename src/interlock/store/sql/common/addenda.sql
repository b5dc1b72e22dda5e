-- name: addendum_insert
-- Insert an addendum after the others of its run.
INSERT INTO addenda ({addendum}) VALUES ({:addendum});

-- name: addenda_of
-- The addenda of a run, oldest first.
SELECT number, position, attempt, item, finding, note, client, principal, address, at
FROM addenda WHERE tenant = :tenant AND execution = :execution ORDER BY number;

-- name: addendum_newest
-- The newest addendum of a run about one step, attempt and item.
SELECT number, position, attempt, item, finding, note, client, principal, address, at
FROM addenda WHERE tenant = :tenant AND execution = :execution AND position = :position AND attempt = :attempt
    AND item = :item
ORDER BY number DESC LIMIT 1;

-- name: addenda_count
-- The number of addenda of a run, which are numbered without a gap.
SELECT ifnull(max(number), 0) FROM addenda WHERE tenant = :tenant AND execution = :execution;
