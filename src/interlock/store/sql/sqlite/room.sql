-- name: room_keep
-- Reserve a number of bytes in the database.
INSERT OR REPLACE INTO room (id, kept) VALUES (1, zeroblob(:size));

-- name: room_kept
-- The number of reserved bytes.
SELECT length(kept) FROM room WHERE id = 1;

-- name: room_give_up
-- Release the reserved pages to the free list, so that terminations can use them.
DELETE FROM room WHERE id = 1;
