"""The permission table, row by row."""

from __future__ import annotations

import pytest

from interlock.auth.roles import PERMISSIONS, Permission, app_permissions_of, covers, permissions_of
from interlock.ports import Role


def test_every_role_has_a_row() -> None:
    assert PERMISSIONS.keys() == set(Role)


@pytest.mark.parametrize("permission", list(Permission))
def test_a_super_admin_may_do_everything_and_a_reader_may_read(permission: Permission) -> None:
    assert permission in permissions_of((Role.SUPER_ADMIN,))
    assert (permission in permissions_of((Role.READ_ONLY,))) == permission.endswith(".read")
    assert permission not in permissions_of(())


def test_an_app_admin_manages_within_its_apps_and_nowhere_else() -> None:
    admin = (Role.APP_ADMIN,)
    assert Permission.EXECUTIONS_TERMINATE in app_permissions_of(admin)
    assert permissions_of(admin) == {Permission.WEBHOOKS_READ}
    assert app_permissions_of((Role.BASIC,)) == frozenset()


def test_a_scope_counts_within_apps_too() -> None:
    admin, both = (Role.APP_ADMIN,), (Role.APP_ADMIN, Role.READ_ONLY)
    assert Permission.EXECUTIONS_TERMINATE not in app_permissions_of(both, (Role.READ_ONLY,))
    assert app_permissions_of((Role.READ_ONLY,), admin) <= permissions_of((Role.READ_ONLY,))
    assert covers((Role.SUPER_ADMIN,), admin)
    assert not covers((Role.READ_ONLY,), admin)
    assert not covers(admin, (Role.READ_ONLY,))


def test_a_scope_narrows_and_never_widens() -> None:
    reader, admin = (Role.READ_ONLY,), (Role.SUPER_ADMIN,)
    assert permissions_of(admin, reader) == permissions_of(reader)
    assert permissions_of(reader, admin) == permissions_of(reader)
    assert covers(admin, reader)
    assert not covers(reader, admin)
    assert covers(reader, ())
