"""The rules: what may happen to a run, and what then follows. Pure: no clock, no I/O, no async, no third party."""
