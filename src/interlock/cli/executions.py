"""`interlock executions`: list, get, watch, receipt, resolve, renew, terminate."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import click

from interlock.cli.automations import find_automation
from interlock.cli.documents import parse, read_text
from interlock.cli.durations import duration
from interlock.cli.failures import EXIT_CODES, Exit, Failure, Refused, combined
from interlock.cli.http import Api, Reply
from interlock.cli.output import Column, Form, instant, long_state, print_object, print_rows, short_state
from interlock.cli.retrying import STOP_RETRY_SECONDS
from interlock.cli.session import Session, limit_option, output_option
from interlock.cli.streams import reader_has_left
from interlock.cli.terminal import one_line, say
from interlock.cli.terminations import below, planned, show_plan, terminate_all
from interlock.cli.waiting import ENDED, check_ended, goes_on, has_ended, read_execution, wait_until_ended

_PATH = "/api/v1/automation_executions"
_OWN_PATH = "/interlock/v1/executions"
_ID = re.compile(r"[1-9][0-9]{0,18}")
_EXPANDED = re.compile(r"\$\.expanded\[([0-9]+)\]")
_NARROWING = "--automation, --state, --older-than, --subject, --where or --all"
_MAX_HELD_SECONDS = 30
"""Longest `Prefer: wait` of the server, in seconds."""

_COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: row.get("id")),
    ("STATE", lambda row: short_state(row.get("state"))),
    ("AUTOMATION", lambda row: row.get("automationDisplayName") or row.get("automationTemplateId")),
    ("VERSION", lambda row: "draft" if row.get("isDraft") else row.get("currentVersion")),
    ("STARTED", lambda row: instant(row.get("createdAt"))),
    ("ENDED", lambda row: instant(row.get("completedAt"))),
)
_STOPPED: tuple[Column, ...] = (
    ("EXECUTION", lambda row: row["executionId"]),
    ("RESULT", lambda row: row["result"]),
    ("STATE", lambda row: row.get("state", "")),
)


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
    count = print_rows(output, (_named(view, page) for view, page in found), _COLUMNS, "id")
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
    print_object(output, read_execution(session.api(), _ids([execution])[0]), "id")


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
                print_rows(output, [current], _COLUMNS, "id")
            if reader_has_left():
                click.get_current_context().exit()

    ident = _ids([execution])[0]
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
    path = f"{_OWN_PATH}/{_ids([execution])[0]}/receipt"
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
    path, api = f"{_OWN_PATH}/{_ids([execution])[0]}", session.api()
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
    path = f"{_OWN_PATH}/{_ids([execution])[0]}/lease/actions/renew"
    print_object(output, session.api().call("POST", path, body).body, "executionId")


@executions.command()
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
    wanted = _ids(ids)
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
        print_rows("table", found, _COLUMNS, "id")
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


def _ids(given: Iterable[str]) -> list[str]:
    """Return execution ids without duplicates, in order; `-` stands for the ids on stdin."""
    texts: list[str] = []
    for text in given:
        texts += [_id_of(line) for line in read_text("-").split("\n") if line.strip()] if text == "-" else [text]
    wrong = [text for text in texts if not _ID.fullmatch(text)]
    if wrong:
        raise Failure(f"not an execution id: {', '.join(wrong)}", Exit.USAGE)
    return list(dict.fromkeys(texts))


def _id_of(line: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    value = parse(line, "stdin")
    return str(value.get("id") or value.get("executionId") or line)
