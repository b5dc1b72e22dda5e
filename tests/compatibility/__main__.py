"""Write `docs/compatibility.md` anew: `python -m tests.compatibility`."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.compatibility.report import PATH, document, measure


def main() -> None:
    with TemporaryDirectory() as directory:
        PATH.write_text(document(asyncio.run(measure(Path(directory)))))


main()
