"""Outbound webhooks and the callbacks of their receivers."""
