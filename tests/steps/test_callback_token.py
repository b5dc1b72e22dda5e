"""The token of a callback URL opens one occurrence of one step of one run, and nothing else."""

from __future__ import annotations

import pytest

from interlock.rules.model import Ref
from interlock.steps.callback_token import PATH, callback_token, callback_url, verify_callback_token

SECRET, REF = b"s" * 32, Ref(1, 839265)
TOKEN = callback_token(SECRET, REF, 2)


def test_the_token_is_the_same_over_all_attempts_and_stands_in_the_url() -> None:
    assert callback_token(SECRET, REF, 2) == TOKEN
    assert verify_callback_token(SECRET, TOKEN, REF, 2)
    path = PATH.format(execution=REF.id, token=TOKEN)
    assert callback_url("https://interlock.example", SECRET, REF, 2) == f"https://interlock.example{path}"


@pytest.mark.parametrize(
    ("secret", "ref", "position", "occurrence"),
    [
        (b"t" * 32, REF, 2, 1),
        (SECRET, Ref(2, REF.id), 2, 1),
        (SECRET, Ref(1, REF.id + 1), 2, 1),
        (SECRET, REF, 3, 1),
        (SECRET, REF, 2, 2),
    ],
    ids=["another server", "another tenant", "another run", "another step", "another time round"],
)
def test_it_opens_nothing_else(secret: bytes, ref: Ref, position: int, occurrence: int) -> None:
    assert not verify_callback_token(secret, TOKEN, ref, position, occurrence)


@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], f"{TOKEN}=", TOKEN.swapcase(), "\ud800", "é" * 32])
def test_what_is_no_token_opens_nothing(wrong: str) -> None:
    assert not verify_callback_token(SECRET, wrong, REF, 2)
