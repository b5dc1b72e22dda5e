"""The permission table, row by row."""

from __future__ import annotations

import pytest

from interlock.auth.roles import PERMISSIONS, Permission, covers, permissions_of
from interlock.ports import Role


def test_every_role_has_a_row() -> None:
    assert PERMISSIONS.keys() == set(Role)


@pytest.mark.parametrize("permission", list(Permission))
def test_a_super_admin_may_do_everything_and_a_reader_may_read(permission: Permission) -> None:
    assert permission in permissions_of((Role.SUPER_ADMIN,))
    assert (permission in permissions_of((Role.READ_ONLY,))) == permission.endswith(".read")
    assert permission not in permissions_of(())


def test_a_scope_narrows_and_never_widens() -> None:
    reader, admin = (Role.READ_ONLY,), (Role.SUPER_ADMIN,)
    assert permissions_of(admin, reader) == permissions_of(reader)
    assert permissions_of(reader, admin) == permissions_of(reader)
    assert covers(admin, reader)
    assert not covers(reader, admin)
    assert covers(reader, ())
