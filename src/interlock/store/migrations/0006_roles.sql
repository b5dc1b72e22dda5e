-- The apps that a client with the role app_admin administers: a JSON array of their ids.

ALTER TABLE clients ADD COLUMN apps TEXT NOT NULL DEFAULT '[]';
