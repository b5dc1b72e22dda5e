"""The page of the limits says what the code enforces, and leaves no limit out."""

from tools.limits import INTERNAL, PAGE, SECTIONS, constants, page

LISTED = {limit.constant for limits in SECTIONS.values() for limit in limits}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.limits"


def test_every_limit_of_the_source_is_on_the_page_or_named_as_internal() -> None:
    assert set(constants()) - LISTED - INTERNAL == set()


def test_no_internal_limit_is_named_that_does_not_exist_or_is_on_the_page() -> None:
    assert INTERNAL - set(constants()) == set()
    assert INTERNAL.isdisjoint(LISTED)
