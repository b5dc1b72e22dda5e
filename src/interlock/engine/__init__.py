"""The engine: it starts runs (`start`), advances them from commit to commit (`advance`), and schedules that work.

The rules decide what happens to a run. The engine prepares their events and performs their effects.
"""
