"""The key file of a data directory: `secrets.key`, one key a line in base64. The first seals, and all of them open."""

from __future__ import annotations

import binascii
import logging
import os
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from interlock.errors import Fatal
from interlock.ports import Ids
from interlock.secrets.vault import KEY_BYTES, AesVault

KEY_FILE: Final = "secrets.key"
MAX_KEY_FILE_BYTES: Final = 4_096
"""Bytes of the key file: room for some 90 keys."""

_log = logging.getLogger(__name__)


def open_vault(directory: Path, ids: Ids) -> AesVault:
    """The vault of a data directory; makes its key at the first start.

    Args:
        directory: the data directory; it exists, and other users have no access to it.
        ids: gives the random bits of a new key and of nonces.

    Raises:
        Fatal: the key file cannot be read or made.
    """
    file = directory / KEY_FILE
    try:
        text = _read(file)
        if text is None:
            text = b64encode(sha256(ids.secret().encode()).digest()) + b"\n"
            _write(file, text)
            _log.info("made a key for the secrets of runs; no backup contains it", extra={"file": str(file)})
    except OSError as error:
        raise Fatal(f"the key file {file} cannot be used: {os.strerror(error.errno or 0)}") from error
    return AesVault(_keys(file, text), ids)


def _read(file: Path) -> bytes | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read(MAX_KEY_FILE_BYTES + 1)


def _write(file: Path, text: bytes) -> None:
    """Whole or not at all, private to its user, and on the disk before anything is sealed with it."""
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    partial.rename(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _keys(file: Path, text: bytes) -> list[bytes]:
    try:
        keys = [b64decode(line, validate=True) for line in text.split()]
    except binascii.Error:
        keys = []
    if len(text) > MAX_KEY_FILE_BYTES or not keys or any(len(key) != KEY_BYTES for key in keys):
        raise Fatal(f"{file} is not a key file: each line must be the base64 of {KEY_BYTES} bytes")
    return keys
