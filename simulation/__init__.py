"""A deterministic simulator: the real system on a machine whose time, disk and network are made of a seed.

    python -m simulation run --seeds 5000      many short runs of a server, each with its own faults
    python -m simulation replay --seed 8123    one of them again, with its events
    python -m simulation shrink --seed 8123    the smallest part of it that still fails

What runs is `interlock.assembly.assemble.assembled`: the API, the operations, the engine, the steps, the rules and the
SQLite store on a real file. What is simulated lies around it: `loop` (time, and dying), `disk`, `network`, and the
`clients`. The `oracle` looks on and knows the properties, `items` those of steps with items (of the test kinds
in `recipients`); `account` judges what is left at the end; `coverage` lists what a run of many seeds must have met;
`sabotage` has servers that are wrong on purpose, each of which must be found out.
"""
