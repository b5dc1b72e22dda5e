"""A transactional kind for tests: its steps write a note, and may wait for the task of the note."""

from __future__ import annotations

from typing import Final

from interlock.contract.steps import SendEmail
from interlock.rules.events import Change, Wait
from interlock.rules.states import WaitingFor
from interlock.steps.documents import encode, error_document
from interlock.steps.kind import CompileContext, Form, PrepareContext, Ready, Step, StepKind, step_kind
from tests.clocks import SECOND
from tests.store.notes import WriteNote

DEFECT: Final = "defect"
"""The text of a note whose applier raises after it has written."""


class NotingStep(Step[SendEmail]):
    """Writes a note. With `waits` the step ends when the task of the note is done."""

    kind = "sendEmail"
    form = Form.TRANSACTIONAL

    def __init__(self, text: str, waits: bool) -> None:
        self._text = text
        self._waits = waits

    async def prepare(self, context: PrepareContext) -> Ready:
        shown = encode({"text": self._text})
        if not self._waits:
            note = WriteNote(self._text, encode({"text": self._text}), fails=self._text == DEFECT)
            return Change(context.position, note, shown, context.passed)
        wait = Wait(context.position, WaitingFor.TASK, context.at + 60 * SECOND)
        return Change(context.position, WriteNote(self._text, None), shown, context.passed, wait)

    def expired(self) -> bytes:
        return error_document("TASK_EXPIRED", "the note was not read in time")


def noting(*, waits: bool = False) -> StepKind:
    """Return the kind, for the registry of a test."""

    def compiled(message: SendEmail, context: CompileContext) -> NotingStep:
        return NotingStep(message.subject or "", waits)

    return step_kind(NotingStep, SendEmail, compiled)
