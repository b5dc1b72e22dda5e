"""The names under which things are stored and shown: a changed one would make what is on disk unreadable."""

from enum import StrEnum

import pytest

from interlock.rules.breaker import Period
from interlock.rules.decision import Verdict
from interlock.rules.model import Cause, Mode
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (State, "PENDING PROCESS_STEP WAITING PAUSED_BY_CIRCUIT_BREAKER STOPPING DONE ERROR TERMINATE"),
        (WaitingFor, "ready timer callback retry task deadline"),
        (
            Outcome,
            "SUCCEEDED FAILED SKIPPED NOT_STARTED INTERRUPTED_NOT_SENT INTERRUPTED_OUTCOME_UNKNOWN INTERRUPTED_RESPONSE"
            " INTERRUPTED_WAITING INTERRUPTED_PARTLY ABANDONED LATE_SUCCEEDED LATE_FAILED",
        ),
        (Verdict, "accepted repeated already-finished superseded"),
        (Mode, "interrupt drain"),
        (Cause, "person cascade tenant_switch breaker_cancel delete lease_expired"),
        (Period, "HOUR DAY WEEK MONTH"),
    ],
    ids=["states", "waiting for", "outcomes", "verdicts", "modes", "causes", "periods"],
)
def test_a_stored_name_never_changes(members: type[StrEnum], names: str) -> None:
    assert [member.value for member in members] == names.split()
