"""The rules of a run: which events are valid, and what each changes. Pure: no clock, no I/O, no async code."""
