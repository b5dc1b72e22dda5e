"""Automations: their definitions, their publication, their circuit breakers."""
