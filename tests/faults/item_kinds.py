"""A server with the step kinds that have items: a recipient is the address of a receiver. Only a fork server imports
this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interlock.assembly.system import Platform
from interlock.ports import Http
from interlock.rules.model import SECOND, Item
from interlock.rules.retry import RetryPolicy
from interlock.steps.kind import StepKind
from simulation.recipients import ChatStep, MailStep, kinds


class Mail(MailStep):
    # A play may lose many attempts, and none of them may be the last.
    retries = RetryPolicy(attempts=20, min_gap=SECOND // 50, max_gap=SECOND // 50)

    def url(self, item: Item) -> str:
        return f"http://{item.name}"


class Chat(ChatStep):
    def url(self, item: Item) -> str:
        return f"http://{item.name}"


def with_items(http: Http) -> Sequence[StepKind]:
    return kinds(http, Mail, Chat)


_real = Platform.real
Platform.real = lambda http=None: replace(_real(http), more_kinds=with_items)  # type: ignore[method-assign]
