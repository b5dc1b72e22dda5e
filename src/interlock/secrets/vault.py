"""AES-256-GCM for documents that hold secrets, with a key for each run that is derived from that of the data directory.

A sealed document is bound to its place by the additional data, so that it cannot be moved to another run, step or
column. It begins with a byte for its format: `1` is followed by the id of the key, the nonce and the ciphertext; `0` by
the plain document, as a release without encryption stored it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence, Set
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from interlock.ports import Ids, Place, Revealed, SecretUnreadable
from interlock.rules.model import Ref, SecretRef

KEY_BYTES: Final = 32
"""Bytes of a key: AES-256."""
_NONCE_BYTES: Final = 12
_KEY_ID_BYTES: Final = 8
_PLAIN: Final = b"0"
_SEALED: Final = b"1"
_HEAD_BYTES: Final = 1 + _KEY_ID_BYTES + _NONCE_BYTES
_DAMAGED: Final = "a stored secret cannot be opened: it is damaged, or was moved here from another place"
_PURPOSE: Final = b"interlock: secrets of a run"


class AesVault:
    """`ports.Vault` with keys in memory.

    Args:
        keys: the first seals, and all of them open; at least one.
        ids: gives the random bits of nonces.
        save: stores the first key, which is not stored yet. It is called before a document is sealed, until it
            succeeds; it raises Unavailable.
    """

    def __init__(self, keys: Sequence[bytes], ids: Ids, save: Callable[[], None] | None = None) -> None:
        self._save = save
        self._keys = {key_id(key): key for key in keys}
        self._newest = key_id(keys[0])
        self._ids = ids

    def seal(self, place: Place, document: bytes, secret: Set[str]) -> SecretRef:
        if self._save is not None:
            self._save()
            self._save = None
        nonce = sha256(self._ids.secret().encode()).digest()[:_NONCE_BYTES]
        plain = json.dumps(sorted(secret)).encode() + b"\n" + document
        cipher = _cipher(self._keys[self._newest], place.run)
        return SecretRef(b"".join((_SEALED, self._newest, nonce, cipher.encrypt(nonce, plain, _bound_to(place)))))

    def reveal(self, place: Place, reference: SecretRef) -> Revealed:
        if reference[:1] == _PLAIN:
            return _parts(reference[1:])
        return _parts(self._opened(place, reference))

    def _opened(self, place: Place, reference: SecretRef) -> bytes:
        if reference[:1] != _SEALED:
            raise SecretUnreadable("a stored secret cannot be opened: its format is that of another release")
        key_id = reference[1 : 1 + _KEY_ID_BYTES]
        key = self._keys.get(key_id)
        if key is None:
            raise SecretUnreadable(
                f"a stored secret cannot be opened: it was encrypted with the key {key_id.hex()}, which is not in the "
                "key file of this data directory"
            )
        nonce = reference[1 + _KEY_ID_BYTES : _HEAD_BYTES]
        try:
            return _cipher(key, place.run).decrypt(nonce, reference[_HEAD_BYTES:], _bound_to(place))
        except (InvalidTag, ValueError):
            raise SecretUnreadable(_DAMAGED) from None


def _parts(plain: bytes) -> Revealed:
    # JSON on one line has no line feed, so the first one ends the list of members.
    members, _, document = plain.partition(b"\n")
    try:
        return Revealed(document, frozenset(json.loads(members)))
    except ValueError:
        raise SecretUnreadable(_DAMAGED) from None


def key_id(key: bytes) -> bytes:
    """Return the id of a key, which each document that it sealed names after its format."""
    return sha256(b"id of a key of secrets" + key).digest()[:_KEY_ID_BYTES]


def _cipher(key: bytes, run: Ref) -> AESGCM:
    """With a key for each run, no key seals so many documents that random nonces could repeat."""
    info = _PURPOSE + run.tenant.to_bytes(8, "big") + run.id.to_bytes(8, "big")
    return AESGCM(HKDF(SHA256(), KEY_BYTES, None, info).derive(key))


def _bound_to(place: Place) -> bytes:
    return f"{place.run.tenant}/{place.run.id}/{place.name}".encode()
