"""Ed25519 public keys (RFC 8032): which of them may be registered."""

from __future__ import annotations

from typing import Final

from interlock.errors import InvalidArgument

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SIGN: Final = 1 << 255


def check_public_key(key: bytes) -> None:
    """Refuse what is not one point in its one encoding, and the points of small order.

    A signature library need not look: under the identity point as the key, any message verifies.

    Raises:
        InvalidArgument: with the reason.
    """
    if len(key) != 32:
        raise InvalidArgument.at("publicKey", f"must be the 32 bytes of an Ed25519 public key; got {len(key)}")
    number = int.from_bytes(key, "little")
    y = number & (_SIGN - 1)
    if y >= _P:
        raise InvalidArgument.at("publicKey", "is not in its canonical encoding")
    # The curve: -x² + y² = 1 + d·x²·y², so x² = (y² - 1) / (d·y² + 1).
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if x_squared == 0 and number & _SIGN:
        raise InvalidArgument.at("publicKey", "is not in its canonical encoding")
    if x_squared and pow(x_squared, (_P - 1) // 2, _P) != 1:
        raise InvalidArgument.at("publicKey", "is not a point of the curve")
    if _times_eight(x_squared, y) == 1:
        raise InvalidArgument.at("publicKey", "is a point of small order; generate a new key pair")


def _times_eight(x_squared: int, y: int) -> int:
    """The y coordinate of eight times the point: 1 if its order divides eight, else the order is a large one."""
    for _ in range(3):
        # Doubling, in x² and y alone: x' = 2xy / (1 + dx²y²), y' = (y² + x²) / (1 - dx²y²).
        product = x_squared * y * y
        next_x_squared = 4 * product * pow((1 + _D * product) ** 2, -1, _P) % _P
        y = (y * y + x_squared) * pow(1 - _D * product, -1, _P) % _P
        x_squared = next_x_squared
    return y
