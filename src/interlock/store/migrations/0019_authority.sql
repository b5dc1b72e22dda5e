-- The apps that the publisher of a definition was confined to, as a JSON list; null: to none.

ALTER TABLE definitions ADD COLUMN apps TEXT;
