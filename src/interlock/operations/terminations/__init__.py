"""The termination of one execution."""
