-- How many executions a bulk termination stopped below those that it names.

ALTER TABLE bulk_terminations ADD COLUMN below INTEGER NOT NULL DEFAULT 0;
