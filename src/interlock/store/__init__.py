"""What is remembered: one contract, kept by SQLite. SQL is source and lives in named `.sql` files."""
