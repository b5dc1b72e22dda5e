"""That nothing can be done to a sealed record without being found."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.audit.chain import START, canonical, link, links, verify
from interlock.ports import AuditEntry, AuditRow
from interlock.rules.model import Actor

TEXT = st.text(max_size=8)
ENTRIES = st.builds(
    AuditEntry,
    actor=st.builds(Actor, TEXT, TEXT, TEXT),
    action=TEXT,
    target=TEXT,
    outcome=TEXT,
    reason=TEXT,
    details=st.none() | st.binary(max_size=8),
)
ROWS = st.builds(AuditRow, tenant=st.integers(1, 9), id=st.integers(1, 99), at=st.integers(0, 2**53), entry=ENTRIES)


def record(count: int = 6) -> list[AuditRow]:
    """A sealed record whose ids have gaps, as those of one tenant among several have."""
    actor = Actor("c", "::1", "p")
    rows = [
        AuditRow(
            tenant=1,
            id=3 * n,
            at=100 + n,
            entry=AuditEntry(actor=actor, action="execution.terminate", target=f"execution:{n}"),
        )
        for n in range(1, count + 1)
    ]
    return [replace(row, hash=seal) for row, (_, seal) in zip(rows, links(START, rows), strict=True)]


def head(rows: list[AuditRow]) -> tuple[int, bytes]:
    assert rows[-1].hash is not None
    return rows[-1].id, rows[-1].hash


def test_an_untouched_record_is_right() -> None:
    rows = record()
    verdict = verify(rows, head(rows), checkpoint=head(rows[:3]))
    assert verdict.ok
    assert (verdict.head, verdict.sealed, verdict.unsealed) == (head(rows), 6, 0)
    assert verify([], (0, START)).ok


def test_rows_that_wait_for_their_seal_are_counted() -> None:
    rows = record()
    fresh = replace(rows[-1], id=99, hash=None)
    verdict = verify([*rows, fresh], head(rows))
    assert (verdict.ok, verdict.sealed, verdict.unsealed) == (True, 6, 1)


def test_a_record_can_be_checked_from_a_known_row_on() -> None:
    rows = record()
    assert verify(rows[3:], head(rows), start=head(rows[:3])).ok
    assert not verify(rows[3:], head(rows), start=(rows[2].id, bytes(32))).ok


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize(
    "changes",
    [
        {"at": 7},
        {"tenant": 2},
        {"entry": AuditEntry(actor=Actor("c", "::1", "p"), action="execution.terminate", target="execution:0")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_row_is_named(place: int, changes: dict[str, object]) -> None:
    rows = record()
    whole = head(rows)
    rows[place] = replace(rows[place], **changes)  # type: ignore[arg-type]
    verdict = verify(rows, whole)
    assert verdict.bad == rows[place].id
    assert verdict.sealed == place


@pytest.mark.parametrize("place", range(5))
def test_a_row_taken_out_shows_at_the_next_one(place: int) -> None:
    rows = record()
    whole = head(rows)
    del rows[place]
    assert verify(rows, whole).bad == rows[place].id


def test_rows_put_in_or_exchanged_are_named() -> None:
    rows = record()
    whole = head(rows)
    extra = replace(rows[2], id=10)
    assert verify([*rows[:3], extra, *rows[3:]], whole).bad == 10
    assert verify([*rows[:3], replace(extra, hash=None), *rows[3:]], whole).bad == 10
    exchanged = [*rows[:2], replace(rows[3], id=rows[2].id), replace(rows[2], id=rows[3].id), *rows[4:]]
    assert verify(exchanged, whole).bad == rows[2].id
    assert verify([rows[1], rows[0]], whole).bad == rows[1].id
    assert verify([rows[0], rows[0]], whole).bad == rows[0].id


def test_a_tail_that_was_cut_off_shows_by_the_seals_that_stayed() -> None:
    rows = record()
    assert verify(rows[:4], head(rows)).bad == rows[-1].id
    assert verify(rows, (rows[-1].id, bytes(32))).bad == rows[-1].id


def test_only_a_head_kept_elsewhere_shows_that_the_seals_were_cut_off_too() -> None:
    rows = record()
    kept = head(rows)
    assert verify(rows[:4], head(rows[:4])).ok
    assert verify(rows[:4], head(rows[:4]), checkpoint=kept).bad == kept[0]


def test_only_a_head_kept_elsewhere_shows_a_record_that_was_written_and_sealed_anew() -> None:
    rows = record()
    kept = head(rows)
    forged = [replace(row, at=row.at + 1) for row in rows]
    forged = [replace(row, hash=seal) for row, (_, seal) in zip(forged, links(START, forged), strict=True)]
    assert verify(forged, head(forged)).ok
    assert verify(forged, head(forged), checkpoint=kept).bad == kept[0]
    without = [row for row in forged if row.id != kept[0]] + [replace(forged[-1], id=kept[0] + 1)]
    without = [replace(row, hash=seal) for row, (_, seal) in zip(without, links(START, without), strict=True)]
    assert verify(without, head(without), checkpoint=kept).bad == kept[0]


@given(ROWS, ROWS)
def test_two_rows_have_one_form_only_if_they_are_one_row(one: AuditRow, other: AuditRow) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


@given(ROWS)
def test_the_form_is_json_that_anybody_can_make(row: AuditRow) -> None:
    actor, entry = row.entry.actor, row.entry
    details = None if entry.details is None else entry.details.decode("utf-8", "surrogateescape")
    members = ["interlock.audit.v1", row.tenant, row.id, row.at, actor.client, actor.principal, actor.address]
    members += [entry.action, entry.target, entry.outcome, entry.reason, details]
    text = json.dumps(members, separators=(",", ":")).encode("ascii")
    assert canonical(row) == text
    assert link(START, row) == sha256(bytes(32) + text).digest()
