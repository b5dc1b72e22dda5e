"""`interlock executions terminate`: stop executions by id, or those that a filter finds."""

from collections.abc import Mapping
from typing import Any

import click

from interlock.cli.automations import find_automation
from interlock.cli.durations import duration
from interlock.cli.execution_ids import execution_ids
from interlock.cli.execution_rows import EXECUTION_COLUMNS
from interlock.cli.failures import Exit, Failure, Refused, combined
from interlock.cli.http import Api, Reply
from interlock.cli.output import Column, Form, long_state, print_rows, short_state
from interlock.cli.retrying import STOP_RETRY_SECONDS
from interlock.cli.session import Session, output_option
from interlock.cli.terminations import below, planned, show_plan, terminate_all
from interlock.cli.waiting import ENDED, has_ended, read_execution, wait_until_ended

_PATH = "/api/v1/automation_executions"
_NARROWING = "--automation, --state, --older-than, --subject, --where or --all"
_MAX_HELD_SECONDS = 30
"""Longest `Prefer: wait` of the server, in seconds."""

_STOPPED: tuple[Column, ...] = (
    ("EXECUTION", lambda row: row["executionId"]),
    ("RESULT", lambda row: row["result"]),
    ("STATE", lambda row: row.get("state", "")),
)


@click.command()
@click.argument("ids", nargs=-1, metavar="ID…")
@click.option(
    "--automation", "automations_", multiple=True, help="Runs of this automation, by id or exact name; may be repeated."
)
@click.option("--state", "states", multiple=True, help="Runs in this state, such as WAITING; may be repeated.")
@click.option("--older-than", help="Runs that started at least this long ago, such as 10m or 3600s.")
@click.option("--subject", "subjects", multiple=True, help="Runs with this subject, by user id; may be repeated.")
@click.option("--where", metavar="EXPRESSION", help="Runs for which this CEL expression is true.")
@click.option("--all", "every", is_flag=True, help="All active runs.")
@click.option("--plan", "plan_only", is_flag=True, help="Only show which runs would be stopped.")
@click.option("--pause-automation", is_flag=True, help="Also pause new runs of these automations.")
@click.option("--reason", help="Reason for the audit record and the receipt; at most 1,024 bytes.")
@click.option(
    "--mode",
    type=click.Choice(["interrupt", "drain"]),
    help="interrupt (the default) cancels the attempt in flight; drain lets it finish until the deadline.",
)
@click.option(
    "--deadline", help="Time until the attempt in flight is given up: 0 to 300 s, such as 500ms or 2m. Default: 10s."
)
@click.option("--cascade", is_flag=True, help="Also terminate all descendants of these executions.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Seconds to wait until all have stopped.")
@click.option(
    "--retry-for",
    type=click.FloatRange(min=0, max=86_400),
    metavar="SECONDS",
    default=STOP_RETRY_SECONDS,
    show_default=True,
    help="Seconds to retry while the server is busy, unreachable or restarting.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@output_option
@click.pass_obj
def terminate(
    session: Session,
    ids: tuple[str, ...],
    automations_: tuple[str, ...],
    states: tuple[str, ...],
    older_than: str | None,
    subjects: tuple[str, ...],
    where: str | None,
    every: bool,
    plan_only: bool,
    pause_automation: bool,
    reason: str | None,
    mode: str | None,
    deadline: str | None,
    cascade: bool,
    wait: float | None,
    retry_for: float,
    yes: bool,
    output: Form,
) -> None:
    """Terminate executions. Completed steps are not undone.

    An ID of - reads ids, or JSON lines with an "id", from stdin. Instead of ids, use --automation, --state,
    --older-than, --subject, --where or --all; an execution must match all of them. On a terminal the command shows
    which executions would be stopped and asks for confirmation.

    An expression reads ctx, as the steps of the execution would, and execution.state, step, stepName, createdAt and
    others. If it fails for an execution, that execution is not stopped, and a warning counts it.

    \b
    Examples:
      interlock executions terminate 839265 --reason "wrong person" --wait 10
      interlock executions terminate 839265 --mode drain --deadline 2m --cascade
      interlock executions terminate --automation "Offboard" --state WAITING --plan
      interlock executions terminate --subject 2vRk7 --where 'execution.createdAt < now() - duration("36h")' --plan
      interlock executions terminate --automation "Offboard" --pause-automation --reason "wrong list" --wait 60
    """
    within = duration(deadline, "--deadline")
    options = {"reason": reason, "mode": mode, "deadline": within, "cascade": cascade or None}
    body = {name: value for name, value in options.items() if value is not None}
    narrowed = bool(automations_ or states or older_than or subjects or where is not None or every)
    if narrowed and ids:
        raise click.UsageError(f"IDs cannot be combined with {_NARROWING}")
    if not narrowed and not ids:
        raise click.UsageError(f"name executions by ID, or use {_NARROWING}")
    if narrowed:
        api = session.api()
        api.retrying.keep_trying("Nothing has been terminated yet", retry_for)
        narrowing = {
            "automationTemplateIds": [find_automation(api, name)["id"] for name in automations_],
            "states": [long_state(state) for state in states],
            "olderThan": duration(older_than, "--older-than"),
            "allExecutions": every,
            **({"subjectUserIds": subjects} if subjects else {}),
            **({"expressionCel": where} if where is not None else {}),
        }
        if pause_automation:
            body["pauseAutomation"] = True
        terminate_all(session, narrowing, body, plan_only=plan_only, yes=yes, wait=wait, output=output)
        return
    if pause_automation:
        raise click.UsageError(f"--pause-automation needs {_NARROWING}")
    wanted = execution_ids(ids)
    if not wanted:
        raise Failure("stdin contains no execution id", Exit.NOT_FOUND)
    api = session.api()
    api.retrying.keep_trying(f"{_named_executions(wanted)} not been terminated yet", retry_for)
    if plan_only:
        show_plan(session, planned(session, api, {"executionIds": wanted}, body), output)
        return
    if session.interactive and not yes:
        _show_and_ask(session, api, wanted, body)

    # Terminate all before waiting for any: a wait must not delay the next terminate.
    held = min(wait, _MAX_HELD_SECONDS) if wait is not None and len(wanted) == 1 else 0
    rows, failures = [], list[Exit]()
    for at, ident in enumerate(wanted):
        left = wanted[at:]
        api.retrying.purpose = f"{_named_executions(left)} not been terminated yet"
        session.unfinished = (
            f"{_named_executions(left)} possibly not been terminated. "
            f"Repeat the command: interlock executions terminate {' '.join(left)}"
        )
        try:
            rows.append(_terminate_one(api, ident, body, held))
        except Failure as failure:
            if failure.code is Exit.AUTH and not rows and not failures:
                raise
            session.report(failure, "" if f"execution {ident}" in failure.message else f"execution {ident}")
            failures.append(failure.code)
    stopped = ", ".join(row["executionId"] for row in rows)
    session.unfinished = f"The termination was accepted for {stopped}. Check: interlock executions get ID"
    late = _wait_for(session, api, rows, wait) if wait is not None else 0
    print_rows(output, rows, _STOPPED, "executionId")
    below, more = _stopped_below(rows)
    if below:
        session.hint(f"Descendants terminated as well: {below:,}{'; more follow' if more else ''}.")
    if len(rows) == 1:
        session.hint(f"Show the receipt: interlock executions receipt {rows[0]['executionId']}")
    code = combined(len(rows), failures)
    click.get_current_context().exit(Exit.TIMEOUT if late and code is Exit.OK else code)


def _named_executions(idents: list[str]) -> str:
    """Return the subject of a sentence about executions, with "has" or "have"."""
    return f"Execution {idents[0]} has" if len(idents) == 1 else f"{len(idents)} executions have"


def _terminate_one(api: Api, ident: str, body: dict[str, Any], held: float) -> dict[str, Any]:
    prefer = "return=representation" + (f", wait={held:.0f}" if held >= 1 else "")
    reply = api.call("POST", f"{_PATH}/{ident}/actions/terminate", body, headers={"Prefer": prefer})
    result, state = _verdict(reply)
    row = {"executionId": ident, "result": result, "state": state}
    return {**row, "termination": reply.body} if reply.body else row


def _verdict(reply: Reply) -> tuple[str, str]:
    """Return result and state from the header; a server without it (C1's own) has accepted the request."""
    result, _, rest = reply.headers.get("interlock-termination", "accepted").partition(";")
    return result.strip(), short_state(rest.strip().removeprefix("state="))


def _wait_for(session: Session, api: Api, rows: list[dict[str, Any]], wait: float) -> int:
    """Update the state of each row, and return how many have not stopped in time."""
    end, late = session.clock.monotonic() + wait, 0
    for row in rows:
        if row["state"] in ENDED:
            continue
        left = max(0.0, end - session.clock.monotonic())
        try:
            row["state"] = short_state(wait_until_ended(api, session.clock, row["executionId"], seconds=left)["state"])
        except Failure as failure:
            if failure.code is not Exit.TIMEOUT:
                raise
            session.report(failure)
            late += 1
    return late


def _stopped_below(rows: list[dict[str, Any]]) -> tuple[int, bool]:
    orders = [row.get("termination") or {} for row in rows]
    return sum(int(order.get("descendants") or 0) for order in orders), any(order.get("more") for order in orders)


def _show_and_ask(session: Session, api: Api, wanted: list[str], options: Mapping[str, Any]) -> None:
    """Ask for confirmation unless all named executions have ended."""
    found = []
    for ident in wanted:
        try:
            found.append(read_execution(api, ident))
        except Failure as failure:
            if failure.code is not Exit.NOT_FOUND:
                raise
    running = sum(not has_ended(execution) for execution in found)
    if running or (found and options.get("cascade")):
        print_rows("table", found, EXECUTION_COLUMNS, "id")
        which = f"execution {wanted[0]}" if len(wanted) == 1 else f"{running} running of {len(wanted)}"
        session.confirmed(f"Terminate {which}{_below(session, api, found, options)}?", yes=False)


def _below(session: Session, api: Api, found: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """Return how many descendants a cascade terminates; C1's own server has no plans and no number."""
    if not options.get("cascade"):
        return ""
    try:
        plan = planned(session, api, {"executionIds": [str(execution["id"]) for execution in found]}, options)
    except Refused as refused:
        if refused.status not in (404, 405, 501):
            raise
        plan = {}
    return below(plan, options, one=len(found) == 1)
