"""`interlock executions`: list, get, watch, receipt, resolve, renew, terminate."""

import re
from typing import Any

import click

from interlock.cli.automations import find_automation
from interlock.cli.durations import duration
from interlock.cli.execution_ids import execution_ids
from interlock.cli.execution_rows import EXECUTION_COLUMNS
from interlock.cli.failures import EXIT_CODES, Exit, Failure
from interlock.cli.output import Form, instant, long_state, print_object, print_rows, short_state
from interlock.cli.session import Session, limit_option, output_option
from interlock.cli.streams import reader_has_left
from interlock.cli.terminal import one_line, say
from interlock.cli.terminate import terminate
from interlock.cli.waiting import check_ended, goes_on, read_execution, wait_until_ended

_OWN_PATH = "/interlock/v1/executions"
_EXPANDED = re.compile(r"\$\.expanded\[([0-9]+)\]")


@click.group(epilog=EXIT_CODES)
def executions() -> None:
    """List, watch and terminate executions."""


@executions.command("list")
@click.option("--automation", help="Only runs of this automation, by id or exact name.")
@click.option("--state", "states", multiple=True, help="Only runs in this state, such as WAITING; may be repeated.")
@click.option("--subject", "subjects", multiple=True, help="Only runs with this subject, by user id; may be repeated.")
@limit_option
@output_option
@click.pass_obj
def list_(
    session: Session,
    automation: str | None,
    states: tuple[str, ...],
    subjects: tuple[str, ...],
    limit: int,
    output: Form,
) -> None:
    """List executions, newest first.

    \b
    Examples:
      interlock executions list --state WAITING --state PROCESS_STEP
      interlock executions list --subject 2vRk7
      interlock executions list --automation "Offboard" -o ids
    """
    api = session.api()
    body: dict[str, Any] = {"expandMask": {"paths": ["automation_template_id"]}}
    if automation:
        body["automationTemplateIds"] = [find_automation(api, automation)["id"]]
    if states:
        body["executionStates"] = [long_state(state) for state in states]
    if subjects:
        body["subjectUserIds"] = subjects
    found = api.rows_of_pages("POST", "/api/v1/search/all_automation_executions", "list", body, limit)
    count = print_rows(output, (_named(view, page) for view, page in found), EXECUTION_COLUMNS, "id")
    if not count:
        session.hint("No executions. Start one: interlock automations run AUTOMATION")
    elif count == limit:
        session.hint(f"Showing the first {limit}; --limit 0 shows all.")


def _named(view: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """Return an execution with the name of its automation, which is on the same page unless it was deleted."""
    execution: dict[str, Any] = view.get("automationExecution") or {}
    place = _EXPANDED.fullmatch(view.get("automationPath") or "")
    if place is None:
        return execution
    return {**execution, "automationDisplayName": page["expanded"][int(place[1])].get("displayName", "")}


@executions.command()
@click.argument("execution")
@output_option
@click.pass_obj
def get(session: Session, execution: str, output: Form) -> None:
    """Show one execution.

    \b
    Examples:
      interlock executions get 839265
    """
    print_object(output, read_execution(session.api(), execution_ids([execution])[0]), "id")


@executions.command()
@click.argument("execution")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Seconds to wait; then exit with code 6."
)
@click.option("--exit-status", is_flag=True, help="Exit with code 1 unless the execution ended in DONE.")
@output_option
@click.pass_obj
def watch(session: Session, execution: str, timeout: float | None, exit_status: bool, output: Form) -> None:
    """Follow an execution to its end, with a line for each state.

    The command survives a restart of the server: within the timeout, or for a minute without one.

    \b
    Examples:
      interlock executions watch 839265
      interlock executions watch 839265 --timeout 60 --exit-status && echo done
    """
    api, seen = session.api(), ""

    def saw(current: dict[str, Any]) -> None:
        nonlocal seen
        state = short_state(current.get("state"))
        if state != seen:
            seen = state
            if output == "table":
                say(one_line(f"{instant(current.get('updatedAt'))}  {state}"))
            else:
                print_rows(output, [current], EXECUTION_COLUMNS, "id")
            if reader_has_left():
                click.get_current_context().exit()

    ident = execution_ids([execution])[0]
    session.unfinished = goes_on(ident)
    ended = wait_until_ended(api, session.clock, ident, seconds=timeout, saw=saw)
    if exit_status:
        check_ended(ended)


@executions.command()
@click.argument("execution")
@output_option
@click.pass_obj
def receipt(session: Session, execution: str, output: Form) -> None:
    """Show the receipt of an execution: Markdown on a terminal, JSON otherwise.

    \b
    Examples:
      interlock executions receipt 839265
      interlock executions receipt 839265 -o table > receipt.md
    """
    path = f"{_OWN_PATH}/{execution_ids([execution])[0]}/receipt"
    if output == "table":
        text = session.api().call("GET", path, headers={"Accept": "text/markdown"}).raw.decode("utf-8", "replace")
        say(text, end="")
    else:
        print_object(output, session.api().call("GET", path).body, "executionId")


@executions.command()
@click.argument("execution")
@click.option("--step", metavar="NAME", help="Step name; optional if only one step is unknown.")
@click.option("--item", metavar="NAME", help="Item of the step, if it has several.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only this attempt of the step.")
@click.option("--happened", "happened", is_flag=True, help="The step had its effect.")
@click.option("--did-not-happen", "did_not", is_flag=True, help="The step had no effect.")
@click.option(
    "--still-unknown", "unknown", is_flag=True, help="You asked the receiver, and the effect is still unknown."
)
@click.option("--note", metavar="TEXT", help="Source of the finding, for the receipt; at most 1,024 bytes.")
@output_option
@click.pass_obj
def resolve(
    session: Session,
    execution: str,
    step: str | None,
    item: str | None,
    attempt: int | None,
    happened: bool,
    did_not: bool,
    unknown: bool,
    note: str | None,
    output: Form,
) -> None:
    """Add a finding about a step that the receipt lists as unknown.

    The recorded outcome and earlier findings are kept. To correct a finding, add another; the newest counts.

    \b
    Examples:
      interlock executions resolve 839265 --happened --note "ticket 42 is there"
      interlock executions resolve 839265 --step create_account --did-not-happen
    """
    findings = {"HAPPENED": happened, "DID_NOT_HAPPEN": did_not, "STILL_UNKNOWN": unknown}
    given = [finding for finding, said in findings.items() if said]
    if len(given) != 1:
        raise click.UsageError("add one of --happened, --did-not-happen and --still-unknown")
    path, api = f"{_OWN_PATH}/{execution_ids([execution])[0]}", session.api()
    if step is None and item is not None:
        raise click.UsageError("--item needs --step")
    which = _one_unknown(api.call("GET", f"{path}/receipt").body) if step is None else {"step": step}
    more = {"item": item, "attempt": attempt, "note": note}
    body = {**which, "finding": given[0], **{name: value for name, value in more.items() if value is not None}}
    added = api.call("POST", f"{path}/addenda", body).body
    print_object(output, {"executionId": execution, **added}, "executionId")
    session.hint(f"Show the receipt: interlock executions receipt {execution}")


def _one_unknown(receipt: dict[str, Any]) -> dict[str, Any]:
    """Return the only unresolved unknown entry of a receipt."""
    found = [entry for entry in receipt.get("unknown") or () if not entry.get("resolved")]
    if not found:
        raise Failure("the receipt has no unknown step; name a resolved step with --step", Exit.NOT_FOUND)
    if len(found) > 1:
        names = dict.fromkeys(
            str(entry.get("step")) + (f" --item {entry['item']}" if entry.get("item") else "") for entry in found
        )
        raise Failure(one_line(f"several steps are unknown; choose one with --step: {', '.join(names)}"), Exit.USAGE)
    entry = found[0]
    return {"position": entry.get("position", 0), **({"item": entry["item"]} if entry.get("item") else {})}


@executions.command()
@click.argument("execution")
@click.option("--lease", metavar="DURATION", help="New length from now, such as 10m; 1 s to 30 days.")
@output_option
@click.pass_obj
def renew(session: Session, execution: str, lease: str | None, output: Form) -> None:
    """Renew the lease of an execution.

    \b
    Examples:
      interlock executions renew 839265
      interlock executions renew 839265 --lease 2h
    """
    length = duration(lease, "--lease")
    body = {} if length is None else {"lease": length}
    path = f"{_OWN_PATH}/{execution_ids([execution])[0]}/lease/actions/renew"
    print_object(output, session.api().call("POST", path, body).body, "executionId")


executions.add_command(terminate)
