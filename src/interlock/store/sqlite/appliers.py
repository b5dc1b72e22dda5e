"""The mutations of this release, each with its applier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from interlock.rules.children import StartChild
from interlock.store.sqlite.children import start_child
from interlock.store.sqlite.mutations import Applier

RELEASED: Final[Mapping[type, Applier]] = {StartChild: start_child}
