"""The store: implements the ports of the data on SQLite. SQL is source, in named `.sql` files."""
