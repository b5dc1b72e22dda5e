"""Automations: definitions, publication, circuit breakers and searches."""
