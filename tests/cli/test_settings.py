"""`interlock settings`: what is sent, and what is asked first."""

from __future__ import annotations

import pytest

from interlock.cli.failures import Exit
from tests.cli.conftest import CommandLine, Server, lines, ok

PATH = "/interlock/v1/settings"
SETTINGS = {"automationsDisabled": False, "executionRetention": "34128000s", "payloadRetention": "7776000s"}


def test_they_are_shown(server: Server, interlock: CommandLine) -> None:
    server.on("GET", PATH, ok({"settings": SETTINGS}))
    assert lines(interlock("settings", "get")) == [SETTINGS]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--disable-automations",), {"automationsDisabled": True}),
        (("--enable-automations",), {"automationsDisabled": False}),
        (("--execution-retention", "30"), {"executionRetention": "2592000s"}),
        (
            ("--enable-automations", "--payload-retention", "1"),
            {"automationsDisabled": False, "payloadRetention": "86400s"},
        ),
    ],
)
def test_only_what_is_named_is_changed(
    options: tuple[str, ...], sent: dict[str, object], server: Server, interlock: CommandLine
) -> None:
    server.on("POST", PATH, ok({"settings": SETTINGS}))
    assert interlock("settings", "set", *options).exit_code == Exit.OK
    assert [call.body for call in server.asked("POST", PATH)] == [sent]


@pytest.mark.parametrize("options", [("--disable-automations",), ("--payload-retention", "1")])
def test_a_person_is_asked_before_anything_ends(
    options: tuple[str, ...], server: Server, interlock: CommandLine
) -> None:
    assert interlock("settings", "set", *options, person=True, stdin="n\n").exit_code == Exit.ERROR
    assert not server.asked("POST", PATH)


def test_nothing_to_change_is_a_wrong_command_line(server: Server, interlock: CommandLine) -> None:
    assert interlock("settings", "set").exit_code == Exit.USAGE
