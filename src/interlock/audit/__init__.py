"""The append-only audit record, and the hash chain that seals it."""
