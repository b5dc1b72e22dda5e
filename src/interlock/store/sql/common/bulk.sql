-- name: bulk_put
-- A decision about many runs.
INSERT INTO bulk_actions ({bulk_action}) VALUES ({:bulk_action});

-- name: bulk_finish
-- It is carried out, or a later decision is about the same runs.
UPDATE bulk_actions SET finished_at = :finished_at WHERE tenant = :tenant AND id = :id;
