"""A secret result is read by later expressions and shown to nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock.steps.documents import decode, encode
from interlock.steps.masking import MASK, holds_secret, masked, opened, sealed, shown_output

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_a_secret_comes_back_in_the_clear_for_the_run_alone(value: object) -> None:
    stored = encode({"open": 1, "secret": sealed(value)})
    assert holds_secret(stored)
    plain, _ = opened(decode(stored))
    assert plain == {"open": 1, "secret": value}
    assert decode(shown_output(stored)) == {"open": 1, "secret": MASK}


@given(JSON)
def test_what_holds_no_secret_is_shown_as_it_is(value: object) -> None:
    assert masked(value, frozenset()) is value
    assert masked(value, frozenset({"a text of nobody else's"})) == value


def test_every_text_that_holds_a_secret_one_has_it_replaced() -> None:
    _, secrets = opened({"key": sealed({"token": "hunter2", "pin": ["0815", "hunter2-long"]})})
    sent = {"url": "https://far.example/?t=hunter2-long&u=hunter2", "list": ["0815", "x0815x"], "n": 5}
    assert masked(sent, secrets) == {
        "url": f"https://far.example/?t={MASK}&u={MASK}",
        "list": [MASK, f"x{MASK}x"],
        "n": 5,
    }


def test_a_very_short_secret_is_masked_only_where_it_is_the_whole_text() -> None:
    _, secrets = opened({"key": sealed("on")})
    assert masked(["on", "one"], secrets) == [MASK, "one"]
