"""Shared parts of the tests of whole answers."""

from __future__ import annotations

from interlock.rules.model import (
    SECOND,
)
from tests.rules.answers import LATER

UNTIL = LATER + 60 * SECOND
