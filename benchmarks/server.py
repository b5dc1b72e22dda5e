"""The real server with another way out: its webhooks are answered at once, without I/O.

So each step is announced, performed and recorded as ever, and only the receiver is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from interlock.cli.serve import SWITCH_INTERVAL, run_server
from interlock.ports import HttpRequest, HttpResponse, Phase, Progress
from interlock.settings import Settings

ANSWER = b'{"version":"v1","context":{"ticket":"INC-1"}}'


class AnsweredAtOnce:
    """`ports.Http` without a network."""

    def check_url(self, url: str) -> None:
        """Any will do."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        progress.phase, progress.bytes_written, progress.status = Phase.DONE, len(request.body), 200
        return HttpResponse(200, {"content-type": "application/json"}, ANSWER)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL)
    settings = Settings(data_dir=given.data_dir, listen=given.listen)
    return uvloop.run(run_server(settings, given.ready_file, http=AnsweredAtOnce()))


if __name__ == "__main__":
    sys.exit(main())
