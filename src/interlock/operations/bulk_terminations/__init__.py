"""Bulk terminations: many executions by one request."""
