"""Assembles a server: its parts (`system`), its jobs (`background`), and the order of start and stop (`assemble`)."""
