"""The embedded store: one SQLite file, one writing connection, commits in groups."""
