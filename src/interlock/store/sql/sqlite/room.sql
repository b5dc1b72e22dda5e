-- name: room_keep
-- Keep so many bytes.
INSERT OR REPLACE INTO room (id, kept) VALUES (1, zeroblob(:size));

-- name: room_kept
-- How many bytes are kept.
SELECT length(kept) FROM room WHERE id = 1;

-- name: room_give_up
-- Let its pages go to the free list, where stops find them.
DELETE FROM room WHERE id = 1;
