"""The key with which this installation signs, and the key set in which others find it (RFC 7517)."""

from __future__ import annotations

import json
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.auth.encoding import to_base64url


class SigningKey:
    """An Ed25519 key pair.

    Args:
        seed: its 32 secret bytes (RFC 8032 section 5.1.5).
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = {"crv": "Ed25519", "kty": "OKP", "x": to_base64url(self._key.public_key().public_bytes_raw())}
        canonical = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
        self.id = to_base64url(sha256(canonical).digest())
        """The thumbprint of the public half (RFC 7638)."""
        self.jwk = {**public, "alg": "EdDSA", "kid": self.id, "use": "sig"}
        """The public half (RFC 8037)."""

    def key_set(self) -> dict[str, object]:
        """The JWK Set."""
        return {"keys": [self.jwk]}
