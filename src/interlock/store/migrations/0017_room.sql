-- Pages of the database that are kept for stops and results on a full disk: they are given up, and go to the free list.
CREATE TABLE room (id INTEGER PRIMARY KEY, kept BLOB NOT NULL);
