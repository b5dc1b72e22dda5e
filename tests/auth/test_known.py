"""The cache of tokens and hosts: a value lives for one generation of the store."""

from __future__ import annotations

from typing import Any

from interlock.auth.known import Known


class Generation:
    """The part of `ports.Access` that a cache asks."""

    revocations = 0


def test_value_is_known_until_anything_is_revoked() -> None:
    access: Any = Generation()
    known: Known[str, int] = Known(access, 9)
    known.keep("a", 1, known.generation)
    assert known.get("a") == 1
    access.revocations += 1
    assert known.get("a") is None


def test_value_that_was_read_before_a_revocation_is_not_kept() -> None:
    access: Any = Generation()
    known: Known[str, int] = Known(access, 9)
    generation = known.generation
    access.revocations += 1
    known.keep("a", 1, generation)
    assert known.get("a") is None


def test_value_of_the_new_generation_drops_those_of_the_old_one() -> None:
    access: Any = Generation()
    known: Known[str, int] = Known(access, 9)
    known.keep("a", 1, known.generation)
    access.revocations += 1
    known.keep("b", 2, known.generation)
    assert (known.get("a"), known.get("b")) == (None, 2)


def test_cache_is_emptied_before_it_grows_beyond_its_limit() -> None:
    access: Any = Generation()
    known: Known[int, int] = Known(access, 2)
    for number in range(3):
        known.keep(number, number, known.generation)
    assert [known.get(number) for number in range(3)] == [None, None, 2]
