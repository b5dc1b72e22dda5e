"""The subject of a run: which person its data name, and which data name one that cannot be searched for."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from interlock.rules.subject import (
    NO_NAMES,
    SUBJECT_MEMBERS,
    SubjectNames,
    subject_names,
    subject_of,
    unusable_subject,
)

NAMED = [
    ("ann", "ann"),
    ("", ""),
    ("a\0b", "a\0b"),
    (7, "7"),
    (0, "0"),
    (-7, "-7"),
    (2**64, "18446744073709551616"),
    (True, ""),
    (False, ""),
    (7.0, ""),
    (None, ""),
    (["ann"], ""),
    ({"id": "ann"}, ""),
]
"""The value of a member, and the subject that it names; "" names none."""


def test_members_that_name_a_subject_have_this_precedence() -> None:
    assert SUBJECT_MEMBERS == ("user_id", "userId")
    assert NO_NAMES == (None, None)


@pytest.mark.parametrize(("value", "name"), NAMED)
def test_value_of_a_member_names_this_subject(value: object, name: str) -> None:
    assert subject_names({"user_id": value}) == (name, None)
    assert subject_names({"userId": value, "n": 1}) == (None, name)
    assert subject_names({"userId": "bob", "user_id": value}) == (name, "bob")


@pytest.mark.parametrize("data", [None, [], ["user_id"], "user_id", 7, {}, {"name": "ann"}, {"x": {"user_id": "ann"}}])
def test_data_without_the_members_name_no_subject(data: object) -> None:
    assert subject_names(data) == NO_NAMES


def test_own_data_take_precedence_member_by_member() -> None:
    """The first member that is not empty counts; a member of the own data hides the same member of the defaults."""
    for own in product((None, "", "a"), (None, "", "b")):
        for defaults in product((None, "", "c"), (None, "", "d")):
            assert subject_of(own, defaults) == merged(own, defaults)


def merged(own: SubjectNames, defaults: SubjectNames) -> str | None:
    """The same, told as one document laid over the other."""

    def document(names: SubjectNames) -> dict[str, str]:
        return {member: name for member, name in zip(SUBJECT_MEMBERS, names, strict=True) if name is not None}

    both = document(defaults) | document(own)
    return next((both[member] for member in SUBJECT_MEMBERS if both.get(member)), None)


def test_names_of_different_lengths_are_a_defect() -> None:
    with pytest.raises(ValueError, match="shorter"):
        subject_of(("", ""), ("",))


@pytest.mark.parametrize("value", ["ann", "", 7, 0, -7, None])
@pytest.mark.parametrize("member", SUBJECT_MEMBERS)
def test_text_an_integer_or_nothing_can_be_searched_for(member: str, value: object) -> None:
    assert unusable_subject({member: value, "n": 7.5}) is None


@pytest.mark.parametrize("value", ["a\0b", "\0", 7.0, True, False, ["ann"], {"id": "ann"}])
@pytest.mark.parametrize("member", SUBJECT_MEMBERS)
def test_other_values_cannot_be_searched_for(member: str, value: object) -> None:
    trigger: Mapping[str, Any] = {"n": 1, member: value}
    assert unusable_subject(trigger) == member


def test_first_unusable_member_is_reported() -> None:
    assert unusable_subject({"user_id": 1.5, "userId": 2.5}) == "user_id"
    assert unusable_subject({}) is None
