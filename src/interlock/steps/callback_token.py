"""The token in a callback URL: it proves that this very step occurrence gave the URL out, and needs storing nowhere."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

from interlock.rules.model import Ref
from interlock.steps.kind import FIRST

PATH: Final = "/api/v1/webhooks/callback/{execution}/{token}"
_TOKEN_BYTES: Final = 24


def callback_token(secret: bytes, ref: Ref, position: int, occurrence: int = FIRST) -> str:
    """32 characters of base64url: the same over all attempts at the step."""
    message = f"callback|{ref.tenant}|{ref.id}|{position}|{occurrence}".encode()
    return urlsafe_b64encode(blake2b(message, key=secret, digest_size=_TOKEN_BYTES).digest()).decode()


def verify_callback_token(secret: bytes, token: str, ref: Ref, position: int, occurrence: int = FIRST) -> bool:
    """Whether the token is the one of this step occurrence; takes the same time for all that are not."""
    expected = callback_token(secret, ref, position, occurrence)
    return hmac.compare_digest(expected.encode(), token.encode("utf-8", "replace"))


def callback_url(public_url: str, secret: bytes, ref: Ref, position: int, occurrence: int = FIRST) -> str:
    token = callback_token(secret, ref, position, occurrence)
    return f"{public_url}/api/v1/webhooks/callback/{ref.id}/{token}"
