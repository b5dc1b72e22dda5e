"""Interlock: a self-hosted automation engine that can stop any run, for sure."""

__version__ = "0.1.0"
