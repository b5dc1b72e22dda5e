"""`interlock doctor`: examine what a server needs, without starting one."""

from __future__ import annotations

from typing import Any

import click

from interlock.assembly.step_kinds import RELEASED, kind_settings
from interlock.cli.diagnosis import CHECK_SECONDS, Level, diagnosis
from interlock.cli.failures import Exit
from interlock.cli.output import Column, Form, print_rows
from interlock.cli.server_options import ENVIRONMENT_PREFIX, server_options, settings_from
from interlock.cli.session import Session, output_option

_COLUMNS: tuple[Column, ...] = (
    ("RESULT", lambda row: row["result"]),
    ("CHECK", lambda row: row["check"]),
    ("FINDING", lambda row: f"{row['message']}; {row['remedy']}" if row["remedy"] else row["message"]),
)


@click.command(context_settings={"auto_envvar_prefix": ENVIRONMENT_PREFIX})
@server_options
@click.option(
    "--json", "as_json", is_flag=True, allow_from_autoenv=False, help="Print JSON lines; the same as --output json."
)
@output_option
@click.pass_obj
def doctor(session: Session, /, as_json: bool, output: Form, **options: Any) -> None:
    """Examine what a server needs, and report problems; exit code 1 if there is one.

    The command takes the settings of `interlock serve`, by options and by variables. It changes nothing, starts no
    server, and may run beside one. Each finding is ok, a warning or a problem, with what to do about it. The check of
    the database ends after a minute.

    \b
    Examples:
      interlock doctor --data-dir ./data
      interlock doctor --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --json
    """
    settings = settings_from(options, kind_settings())
    until = session.clock.monotonic() + CHECK_SECONDS
    findings = list(
        diagnosis(settings, RELEASED, session.clock.wall(), lambda: session.clock.monotonic() >= until),
    )
    rows = (
        {"check": each.check, "result": each.level.value, "message": each.message, "remedy": each.remedy}
        for each in findings
    )
    print_rows("json" if as_json else output, rows, _COLUMNS, "check")
    is_bad = any(each.level is Level.PROBLEM for each in findings)
    click.get_current_context().exit(Exit.ERROR if is_bad else Exit.OK)
