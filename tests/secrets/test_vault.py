"""A sealed document opens at its own place with its own key, and nowhere else."""

from __future__ import annotations

import errno
import os
import stat
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import Fatal, Unavailable
from interlock.ports import Place, SecretUnreadable
from interlock.rules.model import Ref, SecretRef
from interlock.secrets.keys import KEY_FILE, open_vault, write_private
from interlock.secrets.vault import AesVault
from interlock.store.sqlite.disk import make_private
from tests.clocks import SequentialIds

RUN = Ref(1, 7)
PLACE = Place.output(RUN, 3)
DOCUMENT = b'{"pw":"hunter2"}'
MEMBERS = frozenset({"pw"})


def vault(*keys: bytes) -> AesVault:
    return AesVault(keys or (b"k" * 32,), SequentialIds())


@given(st.binary(), st.frozensets(st.text(max_size=5), max_size=4))
def test_document_is_opened_as_it_was_sealed(document: bytes, members: frozenset[str]) -> None:
    sealed = vault().seal(PLACE, document, members)
    assert vault().reveal(PLACE, sealed) == (document, members)


def test_sealed_document_shows_neither_the_document_nor_its_members() -> None:
    sealed = vault().seal(PLACE, DOCUMENT, MEMBERS)
    assert sealed.find(b"hunter2") < 0
    assert sealed.find(b'"pw"') < 0


def test_same_document_is_sealed_differently_each_time() -> None:
    own = vault()
    assert own.seal(PLACE, DOCUMENT, MEMBERS) != own.seal(PLACE, DOCUMENT, MEMBERS)


@pytest.mark.parametrize(
    "other",
    [
        Place.output(Ref(2, 7), 3),
        Place.output(Ref(1, 8), 3),
        Place.output(RUN, 4),
        Place.output(RUN, 3, 0),
        Place.input(RUN, 3),
        Place.trigger(RUN),
    ],
    ids=str,
)
def test_document_that_was_moved_to_another_place_is_refused(other: Place) -> None:
    sealed = vault().seal(PLACE, DOCUMENT, MEMBERS)
    with pytest.raises(SecretUnreadable, match="moved here from another place"):
        vault().reveal(other, sealed)


def test_document_with_any_byte_changed_is_refused() -> None:
    sealed = vault().seal(PLACE, DOCUMENT, MEMBERS)
    for at in range(len(sealed)):
        changed = SecretRef(sealed[:at] + bytes([sealed[at] ^ 0x80]) + sealed[at + 1 :])
        with pytest.raises(SecretUnreadable):
            vault().reveal(PLACE, changed)


def test_document_that_was_cut_is_refused() -> None:
    sealed = vault().seal(PLACE, DOCUMENT, MEMBERS)
    for length in range(len(sealed)):
        with pytest.raises(SecretUnreadable):
            vault().reveal(PLACE, SecretRef(sealed[:length]))


def test_first_key_seals_and_every_key_opens() -> None:
    old, new = b"o" * 32, b"n" * 32
    before = vault(old).seal(PLACE, DOCUMENT, MEMBERS)
    after = vault(new, old).seal(PLACE, DOCUMENT, MEMBERS)
    assert vault(new, old).reveal(PLACE, before).document == DOCUMENT
    assert vault(new).reveal(PLACE, after).document == DOCUMENT
    with pytest.raises(SecretUnreadable, match="not in the key file"):
        vault(new).reveal(PLACE, before)


def test_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    ids = SequentialIds()
    sealed = open_vault(tmp_path, ids).seal(PLACE, DOCUMENT, MEMBERS)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [KEY_FILE]
    assert open_vault(tmp_path, ids).reveal(PLACE, sealed).document == DOCUMENT


def test_key_file_that_other_users_can_read_is_made_private_at_the_start(tmp_path: Path) -> None:
    open_vault(tmp_path, SequentialIds())
    (tmp_path / KEY_FILE).chmod(0o644)
    make_private(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_key_file_that_was_half_written_is_made_again(tmp_path: Path) -> None:
    (tmp_path / f"{KEY_FILE}.partial").write_text("aGFsZg==")
    sealed = open_vault(tmp_path, SequentialIds()).seal(PLACE, DOCUMENT, MEMBERS)
    assert open_vault(tmp_path, SequentialIds()).reveal(PLACE, sealed).document == DOCUMENT


KEY_LINE = b64encode(b"k" * 32) + b"\n"


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"not base64!", b64encode(b"short"), KEY_LINE + b64encode(b"k" * 31), b"\0" * 40, KEY_LINE * 200],
    ids=["empty", "blank", "no base64", "short", "second short", "NUL", "large"],
)
def test_file_that_holds_no_keys_prevents_the_start(tmp_path: Path, text: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(text)
    with pytest.raises(Fatal, match="is not a key file"):
        open_vault(tmp_path, SequentialIds())
    assert (tmp_path / KEY_FILE).read_bytes() == text


def test_key_file_that_is_a_link_prevents_the_start(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(KEY_LINE)
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fatal, match="cannot be used"):
        open_vault(tmp_path, SequentialIds())


class Disk:
    """A disk that fails as it is told to."""

    def __init__(self, error: int | None) -> None:
        self.error = error

    def write(self, file: Path, text: bytes) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error), str(file))
        write_private(file, text)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_first_start_on_a_full_disk_seals_nothing_until_there_is_room(tmp_path: Path, error: int) -> None:
    disk = Disk(error)
    opened = open_vault(tmp_path, SequentialIds(), disk.write)
    with pytest.raises(Unavailable, match="cannot be written"):
        opened.seal(PLACE, DOCUMENT, MEMBERS)
    with pytest.raises(SecretUnreadable, match="not in the key file"):
        opened.reveal(PLACE, vault().seal(PLACE, DOCUMENT, MEMBERS))
    disk.error = None
    sealed = opened.seal(PLACE, DOCUMENT, MEMBERS)
    assert open_vault(tmp_path, SequentialIds()).reveal(PLACE, sealed).document == DOCUMENT


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.EIO])
def test_key_file_that_cannot_be_written_for_another_reason_prevents_the_start(tmp_path: Path, error: int) -> None:
    with pytest.raises(Fatal, match="cannot be used"):
        open_vault(tmp_path, SequentialIds(), Disk(error).write)
