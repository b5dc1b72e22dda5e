-- What a step with items needs for its next attempt and for its receipt: how far an item that failed had got
-- (`rules.outcomes.Reached`), and whether the next attempt announces it again. No earlier release wrote an item.

ALTER TABLE items ADD COLUMN reached TEXT;
ALTER TABLE items ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
