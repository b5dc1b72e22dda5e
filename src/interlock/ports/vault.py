"""Documents that hold secrets: what is stored of them is a reference, and only the vault opens one."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple, Protocol, Self

from interlock.errors import Permanent
from interlock.rules.model import Ref, SecretRef
from interlock.rules.values import value


class SecretUnreadable(Permanent):
    """A sealed document cannot be opened: it was sealed with another key, or for another place, or is damaged."""

    code = "SECRET_UNREADABLE"


@value(frozen=True, slots=True)
class Place:
    """Where a sealed document is stored. A reference that was moved to another place cannot be opened there."""

    run: Ref
    name: str

    @classmethod
    def trigger(cls, run: Ref) -> Self:
        """What the run was started with."""
        return cls(run, "trigger")

    @classmethod
    def input(cls, run: Ref, position: int) -> Self:
        """What a step was announced with; all attempts at it have the same."""
        return cls(run, f"input {position}")

    @classmethod
    def output(cls, run: Ref, position: int, item: int | None = None) -> Self:
        """What a step returned, in an answer or a callback, or one of its items."""
        return cls(run, f"output {position}" if item is None else f"output {position} {item}")

    @classmethod
    def handle(cls, run: Ref, position: int) -> Self:
        """What a step polls the receiver of an accepted attempt with."""
        return cls(run, f"handle {position}")


class Revealed(NamedTuple):
    """A document as it was sealed, and the members of it that hold secrets."""

    document: bytes
    secret: frozenset[str]


class Vault(Protocol):
    """Seals documents with a key that is not in the store."""

    def seal(self, place: Place, document: bytes, secret: Set[str]) -> SecretRef:
        """The reference to store in this place.

        Args:
            place: where it is stored.
            document: JSON text with its secrets.
            secret: the members of the document that hold secrets.

        Raises:
            Unavailable: the key cannot be stored at present; nothing may be sealed with a key that could be lost.
        """
        ...

    def reveal(self, place: Place, reference: SecretRef) -> Revealed:
        """Open a reference that is stored in this place. The result is stored nowhere.

        Raises:
            SecretUnreadable: it was sealed with a key that is missing, or for another place, or is damaged.
        """
        ...
