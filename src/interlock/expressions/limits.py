"""What an expression may cost. No CEL engine bounds memory or time, so these caps and the evaluator processes do.

Nothing can interrupt an expression once it runs, so CEL runs in processes of its own (`worker`), where the kernel ends
what takes too long or too much. In the server process runs only what is small by a limit on its input.
"""

from __future__ import annotations

from typing import Final

MAX_SOURCE: Final = 4096
"""Longest source of one expression, in bytes of UTF-8."""

MAX_LOOPS: Final = 8
"""Most macros in one expression."""

MAX_NESTING: Final = 2
"""Deepest nesting of loops."""

MAX_PATTERN: Final = 256
"""Longest regular expression written out in a source, in bytes of UTF-8."""

MAX_LAYOUT: Final = 256
"""Longest time layout, in characters."""

MAX_RESULT: Final = 256 * 1024
"""Largest result of an expression, and of a template with everything filled in, in bytes of JSON."""

MAX_INPUT: Final = 512 * 1024
"""Largest input sent to a child process, in bytes of JSON."""

MAX_DEPTH: Final = 100
"""Deepest nesting of a result."""

MAX_AUTOMATION_EXPRESSIONS: Final = 1_000
"""Most expressions in the steps of one automation, and in its triggers."""

MAX_AUTOMATION_SOURCE: Final = 256 * 1024
"""Longest sources of all expressions in the steps of one automation, and in its triggers, in characters."""

MAX_TEMPLATE_EXPRESSIONS: Final = 500
"""Most `{{ }}` in one template."""

MAX_SELECTED_TEXT: Final = 32 * 1024
"""Longest text that a plain selection gives without an evaluator process, in characters."""

MAX_SELECTED_WEIGHT: Final = 4 * 1024
"""Largest other value that it gives, in weight (see `values.weigh`)."""

MAX_SELECTED_STRUCTURES: Final = 32
"""Most lists and maps of one template that are selected without an evaluator process."""

MAX_READ_WEIGHT: Final = 4 * MAX_INPUT
"""Most that is written as JSON for an evaluator before its size is known, in weight."""

EVALUATION_CPU_SECONDS: Final = 0.1
"""Processor time of an expression, or of all of one template; the kernel ends the evaluator that uses more."""

EVALUATION_WALL_SECONDS: Final = 2.0
"""Time of a batch by the clock on the wall, for an evaluator that is starved or hangs without using the processor."""

COMPILE_CPU_SECONDS: Final = 0.5
"""Processor time of compiling one expression in an evaluator."""

BATCH_SECONDS: Final = 0.02
"""Processor time after which an evaluator begins nothing more of a batch and gives it back."""

MAX_BATCH_JOBS: Final = 32
"""Most jobs sent to an evaluator at once."""

MAX_BATCH_BYTES: Final = 512 * 1024
"""Size at which a batch takes no further job, in bytes."""

MAX_ANSWER_BYTES: Final = 512 * 1024
"""Size of the answers at which an evaluator begins nothing more of a batch, in bytes."""

MAX_AHEAD_EXPRESSIONS: Final = 64
"""Most expressions of a run that are evaluated ahead in one job; the rest follows in further ones."""

MAX_ANALYSES_AT_ONCE: Final = 8
"""Sources of one automation that are compiled at once, so that others get their turn between them."""

MAX_KILLS: Final = 3
"""Evaluators that an expression may end, one after the other, before it fails."""

MAX_TRIES: Final = 20
"""Evaluators that a job may lose, whatever ended them, before the server is said to be unable to evaluate it."""

EVALUATORS: Final = 2
"""Evaluator processes that work at once. One more is kept as a spare."""

MAX_EVALUATOR_JOBS: Final = 20_000
"""Jobs after which an evaluator is replaced."""

MAX_EVALUATOR_GROWTH_BYTES: Final = 96 * 1024 * 1024
"""Address space that an evaluator may gain before it is replaced: the engine leaks what our functions take and give."""

MAX_FRESH_GROWTH_BYTES: Final = 16 * 1024 * 1024
"""Address space that an evaluator may have gained and still say of an expression that it needs too much memory."""

EVALUATOR_MEMORY_BYTES: Final = 256 * 1024 * 1024 + MAX_EVALUATOR_GROWTH_BYTES
"""Address space of an evaluator process."""

MAX_EVALUATOR_SOURCE: Final = 256 * 1024
"""Sources of which an evaluator keeps the compiled form, in characters."""

EVALUATOR_START_SECONDS: Final = 20.0
"""How long an evaluator may take to be ready for its first job."""

EVALUATOR_RESTART_SECONDS: Final = 1.0
"""Wait before another try to start an evaluator after one that did not start."""
