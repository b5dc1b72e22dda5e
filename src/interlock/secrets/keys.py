"""The key file of a data directory: `secrets.key`, one key a line in base64. The first seals, and all of them open."""

from __future__ import annotations

import binascii
import errno
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from interlock.errors import Fatal, Unavailable
from interlock.ports import Ids
from interlock.secrets.vault import KEY_BYTES, AesVault

KEY_FILE: Final = "secrets.key"
MAX_KEY_FILE_BYTES: Final = 4_096
"""Bytes of the key file: room for some 90 keys."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a full disk: the key can be written when there is room again."""

_log = logging.getLogger(__name__)


def write_private(file: Path, text: bytes) -> None:
    """Write a file as a whole or not at all, private to its user, and on the disk when this returns.

    Raises:
        OSError: the file cannot be written.
    """
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


def open_vault(directory: Path, ids: Ids, write: Callable[[Path, bytes], None] = write_private) -> AesVault:
    """Open the vault of a data directory; the first start makes its key.

    If the disk is full at the first start, the vault writes its key before it seals the first document, so that the
    server starts and can terminate runs.

    Args:
        directory: the data directory; it exists, and other users have no access to it.
        ids: gives the random bits of a new key and of nonces.
        write: writes the key file.

    Raises:
        Fatal: the key file cannot be read or made.
    """
    file = directory / KEY_FILE
    save: Callable[[], None] | None = None
    try:
        text = read_key_file(file)
        if text is None:
            text = b64encode(sha256(ids.secret().encode()).digest()) + b"\n"
            try:
                write(file, text)
                _log.info("made a key for the secrets of runs; no backup contains it", extra={"file": str(file)})
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                _log.warning("the disk is full: the key file is written before the first secret is stored")
                save = partial(_write_late, write, file, text)
    except OSError as error:
        raise Fatal(f"the key file {file} cannot be used: {os.strerror(error.errno or 0)}") from error
    return AesVault(keys_in(file, text), ids, save)


def _write_late(write: Callable[[Path, bytes], None], file: Path, text: bytes) -> None:
    try:
        write(file, text)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Unavailable(f"the key file {file} cannot be written ({reason}), so no secret can be stored") from error
    _log.info("made a key for the secrets of runs; no backup contains it", extra={"file": str(file)})


def read_key_file(file: Path) -> bytes | None:
    """Read the key file; None if there is none.

    Raises:
        OSError: the file cannot be read, or is a symbolic link.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        return opened.read(MAX_KEY_FILE_BYTES + 1)


def keys_in(file: Path, text: bytes) -> list[bytes]:
    """Decode the keys of a key file, the one that seals first.

    Raises:
        Fatal: the text is not that of a key file.
    """
    try:
        keys = [b64decode(line, validate=True) for line in text.split()]
    except binascii.Error:
        keys = []
    if len(text) > MAX_KEY_FILE_BYTES or not keys or any(len(key) != KEY_BYTES for key in keys):
        raise Fatal(f"{file} is not a key file: each line must be the base64 of {KEY_BYTES} bytes")
    return keys
