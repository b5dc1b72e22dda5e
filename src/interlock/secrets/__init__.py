"""Secrets: the key of this data directory, and the vault that seals documents with it."""
