"""`interlock audit`: read and verify the audit record."""

import click

from interlock.cli.failures import EXIT_CODES, Exit, Failure
from interlock.cli.output import Column, Form, instant, print_object, print_rows
from interlock.cli.session import Session, limit_option, output_option
from interlock.cli.terminal import say

_PATH = "/interlock/v1/audit"

_COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: row.get("id")),
    ("AT", lambda row: instant(row.get("at"))),
    ("WHO", lambda row: (row.get("actor") or {}).get("client")),
    ("FROM", lambda row: (row.get("actor") or {}).get("address")),
    ("ACTION", lambda row: row.get("action")),
    ("TARGET", lambda row: row.get("target")),
    ("OUTCOME", lambda row: row.get("outcome")),
    ("REASON", lambda row: row.get("reason")),
)


@click.group(epilog=EXIT_CODES)
def audit() -> None:
    """Read and verify the audit record: actor, address, action, reason and result of each change."""


@audit.command()
@limit_option
@output_option
@click.pass_obj
def export(session: Session, limit: int, output: Form) -> None:
    """Print the record, oldest row first, each row with its seal.

    \b
    Examples:
      interlock audit export --limit 0 -o json > audit.jsonl
    """
    print_rows(output, session.api().pages("GET", _PATH, "list", {}, limit), _COLUMNS, "id")


@audit.command()
@click.option(
    "--checkpoint", metavar="ID:HASH", help="Head that an earlier verification printed and that was stored elsewhere."
)
@output_option
@click.pass_obj
def verify(session: Session, checkpoint: str | None, output: Form) -> None:
    """Verify that no row was changed, removed or inserted. Otherwise name the first such row; exit code 1.

    Store the printed head elsewhere: with --checkpoint, a later verification also detects a record that was rewritten
    as a whole.

    \b
    Examples:
      interlock audit verify
      interlock audit verify --checkpoint 4711:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    """
    body: dict[str, str] = {}
    if checkpoint is not None:
        ident, _, digest = checkpoint.partition(":")
        if not (ident.isascii() and ident.isdigit() and digest):
            raise Failure(f"--checkpoint: not ID:HASH: {checkpoint!r}", Exit.USAGE)
        body = {"checkpointId": ident, "checkpointHash": digest}
    found = session.api().call("POST", f"{_PATH}/actions/verify", body, reads=True).body
    if output == "table":
        say(f"{found['sealed']} sealed rows are unchanged; {found['unsealed']} rows are not sealed yet.")
        say(f"Head: {found['headId']}:{found['headHash']}")
    else:
        print_object(output, found, "headId")
    if not found["intact"]:
        raise Failure(f"row {found['badId']}: {found['problem']}")
