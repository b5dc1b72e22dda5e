"""The life of runs: how one begins (`start`), what happens between two commits (`advance`), and who sees to it.

Rules decide what happens; this room only carries it out.
"""
