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
_LONGEST_HELD = 30
"""Seconds for which the server holds an answer back at most."""

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
@click.option("--automation", help="Only runs of this automation, named by its id or exact name.")
@click.option("--state", "states", multiple=True, help="Only in this state, such as WAITING; may be repeated.")
@click.option("--subject", "subjects", multiple=True, help="Only about this person, by user id; may be repeated.")
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
        session.hint("None. Start one: interlock automations run AUTOMATION")
    elif count == limit:
        session.hint(f"The first {limit}; --limit 0 shows all.")


def _named(view: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """An execution with the name of its automation, which stands on the same page unless it is deleted."""
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
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after so long; exit code 6.")
@click.option("--exit-status", is_flag=True, help="Exit with 1 unless the execution ended in DONE.")
@output_option
@click.pass_obj
def watch(session: Session, execution: str, timeout: float | None, exit_status: bool, output: Form) -> None:
    """Follow an execution to its end: a line for each state it is seen in.

    A restart of the server is waited for: until the timeout, or for a minute if there is none.

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
    """Show what an execution had and had not done: Markdown for a person, JSON for a program.

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
@click.option("--step", metavar="NAME", help="Which step. Needs no saying while one alone is not known.")
@click.option("--item", metavar="NAME", help="Which of its items, where it has several.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="This attempt of it alone.")
@click.option("--happened", "happened", is_flag=True, help="It had its effect.")
@click.option("--did-not-happen", "did_not", is_flag=True, help="It had none.")
@click.option("--still-unknown", "unknown", is_flag=True, help="You asked, and it could not be found out.")
@click.option("--note", metavar="TEXT", help="How you know, for the record and the receipt; at most 1,024 bytes.")
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
    """Add what you learned of a step that the receipt lists as not known.

    What was recorded stays, and so does every addendum: to correct one, add another. The newest counts.

    \b
    Examples:
      interlock executions resolve 839265 --happened --note "ticket 42 is there"
      interlock executions resolve 839265 --step create_account --did-not-happen
    """
    findings = {"HAPPENED": happened, "DID_NOT_HAPPEN": did_not, "STILL_UNKNOWN": unknown}
    given = [finding for finding, said in findings.items() if said]
    if len(given) != 1:
        raise click.UsageError("say one of --happened, --did-not-happen and --still-unknown")
    path, api = f"{_OWN_PATH}/{_ids([execution])[0]}", session.api()
    if step is None and item is not None:
        raise click.UsageError("--item goes with --step")
    which = _one_unknown(api.call("GET", f"{path}/receipt").body) if step is None else {"step": step}
    more = {"item": item, "attempt": attempt, "note": note}
    body = {**which, "finding": given[0], **{name: value for name, value in more.items() if value is not None}}
    added = api.call("POST", f"{path}/addenda", body).body
    print_object(output, {"executionId": execution, **added}, "executionId")
    session.hint(f"Look at it: interlock executions receipt {execution}")


def _one_unknown(receipt: dict[str, Any]) -> dict[str, Any]:
    """The only entry of a receipt that is still not known."""
    found = [entry for entry in receipt.get("unknown") or () if not entry.get("resolved")]
    if not found:
        raise Failure("nothing in it is unknown; to add to what is resolved, name it by --step", Exit.NOT_FOUND)
    if len(found) > 1:
        names = dict.fromkeys(
            str(entry.get("step")) + (f" --item {entry['item']}" if entry.get("item") else "") for entry in found
        )
        raise Failure(one_line(f"several are not known, name one by --step: {', '.join(names)}"), Exit.USAGE)
    entry = found[0]
    return {"position": entry.get("position", 0), **({"item": entry["item"]} if entry.get("item") else {})}


@executions.command()
@click.argument("execution")
@click.option("--lease", metavar="DURATION", help="Another length from now on, such as 10m; 1 s to 30 days.")
@output_option
@click.pass_obj
def renew(session: Session, execution: str, lease: str | None, output: Form) -> None:
    """Say that an execution which was started with a lease is still wanted.

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
@click.option("--automation", "automations_", multiple=True, help="All of this automation, by id or exact name.")
@click.option("--state", "states", multiple=True, help="All in this state, such as WAITING; may be repeated.")
@click.option("--older-than", help="All started at least so long ago, such as 10m or 3600s.")
@click.option("--subject", "subjects", multiple=True, help="All about this person, by user id; may be repeated.")
@click.option("--where", metavar="EXPRESSION", help="All for which this CEL expression is true.")
@click.option("--all", "every", is_flag=True, help="All that are running.")
@click.option("--plan", "plan_only", is_flag=True, help="Only show what would be stopped.")
@click.option("--pause-automation", is_flag=True, help="Hold back new runs of the automations concerned, too.")
@click.option("--reason", help="Why, for the record and the receipt; at most 1,024 bytes.")
@click.option(
    "--mode",
    type=click.Choice(["interrupt", "drain"]),
    help="interrupt (the default) cuts the attempt in flight; drain lets it finish until the deadline.",
)
@click.option("--deadline", help="By when it must have stopped: 0 to 300 s, such as 10s, 500ms or 2m. Default: 10s.")
@click.option("--cascade", is_flag=True, help="Also terminate what these executions started, and so on down.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait so long for all to have stopped.")
@click.option(
    "--retry-for",
    type=click.FloatRange(min=0, max=86_400),
    metavar="SECONDS",
    default=STOP_RETRY_SECONDS,
    show_default=True,
    help="Keep trying so long while the server is busy, away or being restarted.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
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
    """Stop executions, now and for good. Nothing already done is undone.

    An ID of - reads ids, or JSON lines with an "id", from stdin. Without ids, --automation, --state, --older-than,
    --subject, --where or --all say which: those that fit all of them. On a terminal you are shown what would be
    stopped, and asked; elsewhere the command line is taken at its word.

    An expression reads ctx, as the steps of the execution would, and execution.state, step, stepName, createdAt and
    others. One that fails for an execution does not stop it, and you are told.

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
        raise click.UsageError(f"an ID does not go with {_NARROWING}: name executions, or say which fit, not both")
    if not narrowed and not ids:
        raise click.UsageError(f"name executions, or narrow them down by {_NARROWING}")
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
        raise click.UsageError(f"--pause-automation goes with {_NARROWING}")
    wanted = _ids(ids)
    if not wanted:
        raise Failure("stdin named no execution", Exit.NOT_FOUND)
    api = session.api()
    api.retrying.keep_trying(f"{_named_executions(wanted)} not been terminated yet", retry_for)
    if plan_only:
        show_plan(session, planned(session, api, {"executionIds": wanted}, body), output)
        return
    if session.interactive and not yes:
        _show_and_ask(session, api, wanted, body)

    # All are stopped before any is waited for: a wait must not lengthen the life of the next one.
    held = min(wait, _LONGEST_HELD) if wait is not None and len(wanted) == 1 else 0
    rows, failures = [], list[Exit]()
    for at, ident in enumerate(wanted):
        left = wanted[at:]
        api.retrying.purpose = f"{_named_executions(left)} not been terminated yet"
        session.unfinished = (
            f"{_named_executions(left)} perhaps not been terminated. "
            f"Send it again: interlock executions terminate {' '.join(left)}"
        )
        try:
            rows.append(_terminate_one(api, ident, body, held))
        except Failure as failure:
            if failure.code is Exit.AUTH and not rows and not failures:
                raise
            session.report(failure, "" if f"execution {ident}" in failure.message else f"execution {ident}")
            failures.append(failure.code)
    stopped = ", ".join(row["executionId"] for row in rows)
    session.unfinished = f"The termination was accepted for {stopped}. Look: interlock executions get ID"
    late = _wait_for(session, api, rows, wait) if wait is not None else 0
    print_rows(output, rows, _STOPPED, "executionId")
    below, more = _stopped_below(rows)
    if below:
        session.hint(f"With it: {below:,} that it had started, and so on down{'; more follow' if more else ''}.")
    if len(rows) == 1:
        session.hint(f"Look at it: interlock executions receipt {rows[0]['executionId']}")
    code = combined(len(rows), failures)
    click.get_current_context().exit(Exit.TIMEOUT if late and code is Exit.OK else code)


def _named_executions(idents: list[str]) -> str:
    """Executions as the subject of a sentence in the perfect tense."""
    return f"Execution {idents[0]} has" if len(idents) == 1 else f"{len(idents)} executions have"


def _terminate_one(api: Api, ident: str, body: dict[str, Any], held: float) -> dict[str, Any]:
    prefer = "return=representation" + (f", wait={held:.0f}" if held >= 1 else "")
    reply = api.call("POST", f"{_PATH}/{ident}/actions/terminate", body, headers={"Prefer": prefer})
    result, state = _verdict(reply)
    row = {"executionId": ident, "result": result, "state": state}
    return {**row, "termination": reply.body} if reply.body else row


def _verdict(reply: Reply) -> tuple[str, str]:
    """Result and state, from the header; a server without it (C1's own) has accepted, and says no more."""
    result, _, rest = reply.headers.get("interlock-termination", "accepted").partition(";")
    return result.strip(), short_state(rest.strip().removeprefix("state="))


def _wait_for(session: Session, api: Api, rows: list[dict[str, Any]], wait: float) -> int:
    """Bring the state of each row up to date, and return how many had not stopped in time."""
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
    """Ask, unless there is nothing to stop: that those named have ended already is what the verdict says."""
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
    """What a cascade takes with it. C1's own server has no plans, and says no number."""
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
    """Execution ids, each once, in the order given; `-` stands for those on stdin."""
    texts: list[str] = []
    for text in given:
        texts += [_id_of(line) for line in read_text("-").split("\n") if line.strip()] if text == "-" else [text]
    wrong = [text for text in texts if not _ID.fullmatch(text)]
    if wrong:
        raise Failure(f"not the id of an execution: {', '.join(wrong)}", Exit.USAGE)
    return list(dict.fromkeys(texts))


def _id_of(line: str) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    value = parse(line, "stdin")
    return str(value.get("id") or value.get("executionId") or line)
