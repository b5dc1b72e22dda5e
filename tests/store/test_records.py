"""Records that pass through the ports of the store are built by the names of their fields."""

from __future__ import annotations

import dataclasses
import inspect
from types import ModuleType

import pytest

from interlock.ports import access, addenda, audit, automations, bulk, bulk_terminations, clocks, executions

MODULES = (access, addenda, audit, automations, bulk, bulk_terminations, clocks, executions)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_every_field_of_a_record_is_given_by_name(module: ModuleType) -> None:
    records = [
        found
        for _, found in inspect.getmembers(module, dataclasses.is_dataclass)
        if isinstance(found, type) and found.__module__ == module.__name__
    ]
    assert records
    fields = [(record.__name__, field) for record in records for field in dataclasses.fields(record)]
    assert [(name, field.name) for name, field in fields if not field.kw_only] == []
