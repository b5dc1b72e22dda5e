"""The page of the guarantees names tests that exist, for every property of the stop."""

from __future__ import annotations

from tools.guarantees.page import PAGE, missing, page
from tools.guarantees.table import GUARANTEES


def test_every_test_that_is_named_exists() -> None:
    assert missing() == []


def test_every_property_has_tests_and_is_broken_on_purpose() -> None:
    assert [each.name for each in GUARANTEES] == [*(f"S{number}" for number in range(1, 19)), "L1", "L2"]
    assert all(each.tests and each.mutants for each in GUARANTEES)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.guarantees"
