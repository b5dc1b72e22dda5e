"""The operation table: each row complete, each path once, and the published SDK's calls all among them."""

from __future__ import annotations

import inspect
import re

import pytest

from interlock.contract.base import Message
from interlock.operations.operation import Lane, Operation, Visibility
from interlock.operations.table import OPERATIONS

ids = [operation.id for operation in OPERATIONS]


@pytest.mark.parametrize("operation", OPERATIONS, ids=ids)
def test_each_row_is_complete(operation: Operation) -> None:
    assert operation.summary
    assert operation.description.endswith(".")
    assert inspect.iscoroutinefunction(operation.handler)
    assert issubclass(operation.response, Message)
    assert re.findall(r"\{(\w+)\}", operation.path) == [parameter.name for parameter in operation.parameters]


@pytest.mark.parametrize("operation", OPERATIONS, ids=ids)
def test_only_a_path_with_a_proof_in_it_needs_no_permission(operation: Operation) -> None:
    assert (operation.permission is None) == ("{token}" in operation.path)


def test_no_path_and_no_id_is_there_twice() -> None:
    routes = [(row.method, re.sub(r"\{\w+\}", "{}", path)) for row in OPERATIONS for path in (row.path, *row.aliases)]
    assert len(routes) == len(set(routes))
    assert len(ids) == len(set(ids))


STOPS = {"TerminateAutomation", "CreateBulkTermination", "AbortBulkTermination"}


def test_what_reads_shares_the_reading_lane_and_only_stops_have_their_own() -> None:
    for row in OPERATIONS:
        reads = row.method == "GET" or "/search" in row.path or row.path.endswith(("/plan", "/verify"))
        stops = row.id.rpartition(".")[2] in STOPS
        assert row.lane is (Lane.READING if reads else Lane.STOP if stops else Lane.WORK), row.id


def test_what_is_ours_stands_under_our_own_path_and_name() -> None:
    for row in OPERATIONS:
        own = row.visibility is Visibility.OWN
        assert own == row.id.startswith("interlock.v1.")
        assert own == (row.path.startswith("/interlock/v1/") or "/callback/" in row.path)


@pytest.mark.parametrize("kind", ["automations", "automation_versions", "automation_executions"])
def test_searches_are_found_under_both_spellings(kind: str) -> None:
    paths = {path for row in OPERATIONS for path in (row.path, *row.aliases)}
    assert {f"/api/v1/search/{kind}", f"/api/v1/{kind}/search"} <= paths
