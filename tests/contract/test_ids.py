"""Ids in paths have one spelling."""

import pytest

from interlock.contract.ids import parse_id
from interlock.errors import InvalidArgument
from tests.contract.messages import short


@pytest.mark.parametrize("text", ["1", "839265", "9223372036854775807"], ids=short)
def test_plain_decimal_digits_are_read(text: str) -> None:
    assert parse_id(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-0",
        "-1",
        "+5",
        "012",
        " 12",
        "12\n",
        "1_000",
        "١٢",
        "1.0",
        "0x1",
        "9223372036854775808",
        "1" * 20,
        "9" * 5000,
        "12\0",
    ],
    ids=short,
)
def test_anything_else_is_refused_and_the_field_named(text: str) -> None:
    with pytest.raises(InvalidArgument, match="executionId: must be a whole number"):
        parse_id(text, "executionId")
