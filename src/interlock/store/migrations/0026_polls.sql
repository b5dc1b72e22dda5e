-- What a step polls the receiver of an accepted attempt with, encrypted, and how many microseconds of its wait are left at the next
-- poll. Both are NULL unless the step is to be polled. The time of the next poll is `wake_at` of the run, as for every other wait.

ALTER TABLE steps ADD COLUMN handle BLOB;
ALTER TABLE steps ADD COLUMN wait_left INTEGER;
