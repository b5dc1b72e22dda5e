-- How many executions that a run had started, and so on down, were stopped by orders to stop it with `cascade`.

ALTER TABLE terminations ADD COLUMN below INTEGER NOT NULL DEFAULT 0;
