"""Clients and tenants."""
