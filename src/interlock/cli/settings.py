"""`interlock settings`: show and change the settings of the tenant."""

from typing import Any

import click

from interlock.cli.failures import EXIT_CODES
from interlock.cli.output import Form, print_object
from interlock.cli.session import Session, output_option

_PATH = "/interlock/v1/settings"
_SECONDS_A_DAY = 86_400


@click.group(epilog=EXIT_CODES)
def settings() -> None:
    """Show and change the settings of the tenant: disabled automations, and retention."""


@settings.command()
@output_option
@click.pass_obj
def get(session: Session, output: Form) -> None:
    """Show the settings.

    \b
    Examples:
      interlock settings get
    """
    print_object(output, session.api().call("GET", _PATH).body["settings"], "automationsDisabled")


@settings.command("set")
@click.option(
    "--disable-automations/--enable-automations",
    "disabled",
    default=None,
    help="Disabled: new runs are terminated immediately, and active runs end at their next step.",
)
@click.option(
    "--execution-retention", metavar="DAYS", type=click.IntRange(1, 3_650), help="Days to keep runs after their end."
)
@click.option("--payload-retention", metavar="DAYS", type=click.IntRange(1, 3_650), help="Days to keep payloads.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@output_option
@click.pass_obj
def set_(
    session: Session,
    disabled: bool | None,
    execution_retention: int | None,
    payload_retention: int | None,
    yes: bool,
    output: Form,
) -> None:
    """Change settings; omitted settings keep their values. Removed data cannot be restored.

    \b
    Examples:
      interlock settings set --disable-automations
      interlock settings set --execution-retention 395 --payload-retention 30
    """
    body: dict[str, Any] = {} if disabled is None else {"automationsDisabled": disabled}
    for name, days in (("executionRetention", execution_retention), ("payloadRetention", payload_retention)):
        if days is not None:
            body[name] = f"{days * _SECONDS_A_DAY}s"
    if not body:
        raise click.UsageError("nothing to change: add an option")
    api = session.api()
    if disabled:
        session.confirmed("Disable all automations of this tenant?", yes=yes)
    elif len(body) > (disabled is not None):
        session.confirmed("Change retention? Older data is removed within an hour.", yes=yes)
    print_object(output, api.call("POST", _PATH, body).body["settings"], "automationsDisabled")
