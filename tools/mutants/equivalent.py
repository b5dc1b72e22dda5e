"""Mutants that no test can notice, because they mean the same: neither killed nor survived.

Each is named as the tool prints it, by its function and the text of its statement, and has its reason. One that is
found no more fails a test, so that the list stays as short as it can be.
"""

from __future__ import annotations

from typing import Final

from tools.mutants.statements import AnyMutant

ONE_ATTEMPT: Final = "with one attempt in all, numbered from 1, the gap is never looked at"

EQUIVALENT: Final[dict[str, str]] = {
    "interlock.rules.retry:<module>: NO_RETRIES = RetryPolicy(attempts=1, min_gap=0, max_gap=0)"
    f" => NO_RETRIES = RetryPolicy({changed})": ONE_ATTEMPT
    for changed in (
        "attempts=0, min_gap=0, max_gap=0",
        "attempts=1, min_gap=1, max_gap=0",
        "attempts=1, min_gap=0, max_gap=1",
    )
}


def is_equivalent(mutant: AnyMutant) -> bool:
    return str(mutant) in EQUIVALENT
