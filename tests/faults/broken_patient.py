"""A server that is broken on purpose: however late its loop is, it carries on. Only a fork server imports this."""

from __future__ import annotations

from interlock.assembly import background

background.MAX_LOOP_LAG = 3_600 * 1_000_000  # type: ignore[misc]
