"""`interlock token`: print a bearer token, for curl and for SDKs without a credential flow."""

from typing import Literal

import click

from interlock.cli.output import compact
from interlock.cli.session import Session
from interlock.cli.terminal import one_line, say


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Choice(["token", "json"]),
    default="token",
    show_default=True,
    help="Print the token only, or the server's whole answer.",
)
@click.pass_obj
def token(session: Session, output: Literal["token", "json"]) -> None:
    """Print a bearer token.

    \b
    Examples:
      curl -H "Authorization: Bearer $(interlock token)" "$CONDUCTORONE_SERVER_URL/api/v1/automations"
      interlock token -o json
    """
    reply = session.api().token()
    say(compact(reply) if output == "json" else one_line(reply["access_token"]))
