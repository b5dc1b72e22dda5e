"""As many histories as are wanted: `python -m tests.histories --count 1000000 --seed 7`, with `--kill` under crashes.

Ends with one line of figures; the exit code is 1 if a history was not linearizable.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.histories.figures import Figures
from tests.histories.series import AT_ONCE, series


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.histories")
    parser.add_argument("--count", type=int, default=20_000, help="histories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="kill -9 the server about once in 32 histories")
    given = parser.parse_args()
    whole = Figures(given.seed)
    for begun in range(0, given.count, AT_ONCE):
        with TemporaryDirectory() as directory:
            part = asyncio.run(
                series(Path(directory), min(AT_ONCE, given.count - begun), given.seed + begun, kill=given.kill)
            )
        for page in part.violations:
            print(page, flush=True)
        whole.merge(part)
        print(part.line(), file=sys.stderr, flush=True)
    print(whole.line())
    return 1 if whole.violations else 0


sys.exit(main())
