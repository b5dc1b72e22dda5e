"""The OpenAPI document: up to date, the published operation in it unchanged, and each message in it once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from interlock.api.openapi import document
from interlock.operations.table import OPERATIONS

MADE = document(OPERATIONS)
PUBLISHED = Path(__file__).parent.parent / "fixtures" / "terminate_automation.yaml"
NOT_OURS = {"x-codeSamples", "info"}
"""The samples are of C1's own clients, and stand on the pages in our words; the title is that of C1's whole API."""


def test_what_is_handed_out_is_what_the_source_says() -> None:
    kept = resources.files("interlock.api")
    assert json.loads(kept.joinpath("openapi.json").read_text()) == MADE, "run: python -m tools.openapi"
    assert yaml.safe_load(kept.joinpath("openapi.yaml").read_text()) == MADE, "run: python -m tools.openapi"


def test_yaml_document_has_no_anchors_or_aliases() -> None:
    text = resources.files("interlock.api").joinpath("openapi.yaml").read_text()
    assert [event for event in yaml.parse(text) if getattr(event, "anchor", None)] == []


def test_each_member_of_the_published_operation_is_there_and_equal() -> None:
    published = yaml.safe_load(PUBLISHED.read_text())
    assert list(missing(published, MADE, "")) == []


def test_each_reference_leads_to_a_schema_and_each_schema_is_referred_to() -> None:
    schemas = {f"#/components/schemas/{name}" for name in MADE["components"]["schemas"]}
    assert set(references(MADE)) == schemas


def missing(published: Any, ours: Any, where: str) -> Iterator[str]:
    """The places where something that was published is not in ours, or not the same."""
    if isinstance(published, dict):
        for name, value in published.items():
            if name not in NOT_OURS:
                if not isinstance(ours, dict) or name not in ours:
                    yield f"{where}/{name}: missing"
                else:
                    yield from missing(value, ours[name], f"{where}/{name}")
    elif isinstance(published, list):
        for value in published:
            if not isinstance(ours, list) or all(any(missing(value, own, where)) for own in ours):
                yield f"{where}: {value}"
    elif isinstance(published, str) and isinstance(ours, str):
        if published.split() != ours.split():
            yield f"{where}: {published!r}, and here {ours!r}"
    elif published != ours:
        yield f"{where}: {published!r}, and here {ours!r}"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)
