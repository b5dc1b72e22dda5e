"""Executions: start, read, search, follow; receipts, leases and addenda."""
