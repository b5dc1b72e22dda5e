"""The command line with its event loop measured, for tests that need a server in a process of its own.

python -m tests.measured serve …
"""

from __future__ import annotations

import os
from pathlib import Path

import uvloop

from interlock.cli.main import main
from tests.loops import REPORT_VARIABLE, Meter, measured_loop


def serve() -> None:
    """Run the command line with its event loop measured; slow callbacks go to the report file."""
    report = Path(os.environ[REPORT_VARIABLE])

    def write(text: str) -> None:
        with report.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    meter = Meter(write)
    meter.watch_collections()
    uvloop.Loop = measured_loop(meter)  # type: ignore[misc]
    main()


if __name__ == "__main__":
    serve()
