"""A server that is broken on purpose: after an I/O error it carries on. Only a fork server imports
this."""

from __future__ import annotations

from interlock.store.sqlite import writer

writer._UNTRUSTED = ()  # type: ignore[assignment]
