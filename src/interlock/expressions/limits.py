"""What an expression may cost. No CEL engine bounds memory, so these caps and the child process do.

Three costs are told apart, because nothing can interrupt an expression once it runs on the event loop:

- *loops* (`map`, `filter`, `all`, `exists`, `exists_one`, `cel.bind` and the optional macros) repeat their body;
- *strong* growth (`replace`, `join`, searching with a computed text) can square the size of its input;
- *soft* growth (joining texts or lists, putting them in a literal) multiplies it by the number of its operands.
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

MAX_TEMPLATE_EXPRESSIONS: Final = 500
"""Most `{{ }}` in one template."""

INLINE_LOOP_INPUT: Final = 2 * 1024
"""Most input, in weight, over which one loop or one strong growth runs on the event loop."""

INLINE_GROWTH_INPUT: Final = 64 * 1024
"""Most input, in weight and times the number of soft growths, that grows on the event loop."""

INLINE_EXPRESSIONS: Final = 64
"""Most expressions of one template that are evaluated in one turn of the event loop."""

CHILD_CPU_SECONDS: Final = 0.1
"""Processor time of a job in a child process; the kernel ends the child that uses more."""

CHILD_WALL_SECONDS: Final = 1.0
"""Time of a job by the clock on the wall, for a child that is starved or hangs without using the processor."""

CHILD_MEMORY: Final = 256 * 1024 * 1024
"""Address space of a child process, in bytes."""

CHILD_START_SECONDS: Final = 20.0
"""How long a child process may take to be ready for its first job."""
