-- name: bulk_put
-- Insert a decision about many runs.
INSERT INTO bulk_actions ({bulk_action}) VALUES ({:bulk_action});

-- name: bulk_finish
-- Finish a decision that was carried out, or that a later one about the same runs replaces.
UPDATE bulk_actions SET finished_at = :finished_at WHERE tenant = :tenant AND id = :id;
