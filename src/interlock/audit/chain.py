"""The hash chain of the audit record: the canonical form of a row, and the verification of a record.

Each tenant has its own chain. A row's hash is SHA-256 over the previous hash and the row's canonical form; the first
row follows 32 zero bytes. An operator who stores a head elsewhere can detect later whether a row up to it was changed,
removed, inserted, or cut off at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from interlock.ports import AuditRow
from interlock.rules.values import value

START: Final = bytes(32)
"""The hash before the first row of a chain."""
FORM: Final = "interlock.audit.v1"

# The standard library's own quoting of a JSON string in ASCII, without an encoder around it: a third of the time.
_text: Final = json.encoder.encode_basestring_ascii


@value(frozen=True, slots=True)
class Verdict:
    """What a check found.

    `head` is the newest sealed row that is right, and its hash. `bad` is the first row that is not as it was sealed, or
    that is missing; `problem` says what is wrong with it.
    """

    head: tuple[int, bytes]
    sealed: int
    unsealed: int
    bad: int | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        return self.bad is None


def canonical(row: AuditRow) -> bytes:
    """The one form of a row: a JSON array in ASCII, without blanks.

    Its members: the name of this form, tenant, id, at (microseconds), client, principal, address, action, target,
    outcome, reason, and the details as text or null.
    """
    entry = row.entry
    actor = entry.actor
    # Bytes that are no UTF-8 were never written by us; they still must not stop a check.
    details = None if entry.details is None else entry.details.decode("utf-8", "surrogateescape")
    text = (
        f'["{FORM}",{row.tenant},{row.id},{row.at},{_text(actor.client)},{_text(actor.principal)},'
        f"{_text(actor.address)},{_text(entry.action)},{_text(entry.target)},{_text(entry.outcome)},"
        f"{_text(entry.reason)},{'null' if details is None else _text(details)}]"
    )
    return text.encode("ascii")


def link(before: bytes, row: AuditRow) -> bytes:
    """The hash of a row that follows the hash `before`."""
    return sha256(before + canonical(row)).digest()


def links(before: bytes, rows: Sequence[AuditRow]) -> list[tuple[int, bytes]]:
    """The seals of rows of one tenant, in the order of their ids."""
    seals = []
    for row in rows:
        before = link(before, row)
        seals.append((row.id, before))
    return seals


def verify(
    rows: Iterable[AuditRow],
    head: tuple[int, bytes],
    *,
    start: tuple[int, bytes] = (0, START),
    checkpoint: tuple[int, bytes] | None = None,
) -> Verdict:
    """Check a tenant's rows, with their seals, in the order of their ids.

    Args:
        rows: all rows behind `start`.
        head: the newest seal that the store has.
        start: a verified row, and its hash.
        checkpoint: a head that was stored elsewhere. Only a checkpoint detects a record that was cut off, or rewritten
            together with its seals.
    """
    last, before = start
    sealed = unsealed = 0
    met_checkpoint = checkpoint is None or checkpoint[0] <= start[0]

    def bad(id_: int, problem: str) -> Verdict:
        return Verdict((last, before), sealed, unsealed, id_, problem)

    for row in rows:
        if row.hash is None:
            unsealed += 1
            continue
        if unsealed:
            return bad(last + 1, f"a row between {last} and {row.id} has no seal")
        if row.id <= last:
            return bad(row.id, f"the row follows row {last}")
        if checkpoint is not None and not met_checkpoint and row.id > checkpoint[0]:
            return bad(checkpoint[0], "the row of the checkpoint is missing")
        if link(before, row) != row.hash:
            return bad(row.id, f"the row, or one between it and row {last}, is not what was sealed")
        if checkpoint is not None and row.id == checkpoint[0]:
            if row.hash != checkpoint[1]:
                return bad(row.id, "the record up to this row is not the one that the checkpoint was taken from")
            met_checkpoint = True
        last, before = row.id, row.hash
        sealed += 1
    if head[0] > last:
        return bad(head[0], f"rows behind row {last} are missing: there is a seal for row {head[0]}")
    if head[0] == last and head[1] != before:
        return bad(last, "the newest seal is not the hash of the newest row")
    if checkpoint is not None and not met_checkpoint:
        return bad(checkpoint[0], "the row of the checkpoint is missing")
    return Verdict((last, before), sealed, unsealed)
