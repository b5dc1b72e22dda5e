"""The append-only record of who did what, and the chain of hashes that seals it."""
