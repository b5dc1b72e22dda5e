"""`interlock automations`: apply, list, get, run, delete, clear-breaker, resolve-paused."""

import re
from collections.abc import Mapping
from typing import Any

import click

from interlock.cli.documents import read_automations, read_context
from interlock.cli.durations import duration
from interlock.cli.failures import EXIT_CODES, Exit, Failure, Refused, combined
from interlock.cli.http import Api
from interlock.cli.output import Column, Form, instant, print_object, print_rows
from interlock.cli.session import Session, limit_option, output_option
from interlock.cli.waiting import check_ended, goes_on, wait_until_ended

_PATH = "/api/v1/automations"
_KEY = re.compile(r"[!-~]{1,255}")
"""Idempotency keys that a header can carry unchanged."""
_SEARCH = "/api/v1/search/automations"
_HELD_SECONDS = 1
"""`Prefer: wait` of a run that is waited for. Most runs end within it, and need no event stream. It is short because
the id of the run comes with the answer: until then an interrupted command cannot say which run it started."""

# Fields that the server sets: a file saved from `get` holds them, and an update must leave them out.
_KEPT_BY_SERVER = frozenset(
    {"id", "createdAt", "currentVersion", "primaryTriggerType", "lastExecutedAt", "circuitBreaker", "webhookHmacSecret"}
)


def _status(row: Mapping[str, Any]) -> str:
    if row.get("circuitBreaker"):
        return "tripped"
    return "draft" if row.get("isDraft") else "on" if row.get("enabled") else "off"


_COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: row.get("id")),
    ("NAME", lambda row: row.get("displayName")),
    ("STATUS", _status),
    ("VERSION", lambda row: row.get("currentVersion")),
    ("LAST RUN", lambda row: instant(row.get("lastExecutedAt"))),
)


@click.group(epilog=EXIT_CODES)
def automations() -> None:
    """Apply, list, run and delete automations."""


@automations.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--dry-run", is_flag=True, help="Show the changes without making them.")
@output_option
@click.pass_obj
def apply(session: Session, files: tuple[str, ...], dry_run: bool, output: Form) -> None:
    """Create or update automations from files. A FILE is JSON, one automation or an array; - is stdin.

    An automation with an "id" updates the automation with that id. Without an "id", the command updates the automation
    with exactly that displayName, or creates one. An update changes only the members that the file contains.

    \b
    Examples:
      interlock automations apply onboard.json offboard.json
      interlock automations get "Offboard" | jq '.enabled = false' | interlock automations apply -
    """
    wanted = [(source, automation) for source in files for automation in read_automations(source)]
    _refuse_twins([automation for _, automation in wanted])
    api, rows, failures = session.api(), [], list[Exit]()
    for source, automation in wanted:
        name = automation.get("displayName") or automation.get("id")
        try:
            rows.append(_apply_one(api, automation, dry_run=dry_run))
        except Failure as failure:
            if failure.code is Exit.AUTH and not rows:
                raise
            session.report(failure, f"{source}: {name}")
            failures.append(failure.code)
    columns = (*_COLUMNS[:2], ("RESULT", lambda row: row.get("result")))
    print_rows(output, rows, columns, "id")
    if rows and not dry_run:
        session.hint(f"Run the automation: interlock automations run {rows[-1]['id']}")
    click.get_current_context().exit(combined(len(rows), failures))


@automations.command("list")
@click.option("--query", default="", help="Only automations whose name or description contains this text.")
@limit_option
@output_option
@click.pass_obj
def list_(session: Session, query: str, limit: int, output: Form) -> None:
    """List automations.

    \b
    Examples:
      interlock automations list
      interlock automations list --query onboard -o ids
    """
    rows = session.api().pages("POST", _SEARCH, "list", {"query": query} if query else {}, limit)
    count = print_rows(output, rows, _COLUMNS, "id")
    if not count:
        session.hint("No automations. Create one: interlock automations apply FILE")
    elif count == limit:
        session.hint(f"Showing the first {limit}; --limit 0 shows all.")


@automations.command()
@click.argument("automation")
@output_option
@click.pass_obj
def get(session: Session, automation: str, output: Form) -> None:
    """Show an automation, by id or exact name.

    \b
    Examples:
      interlock automations get "Offboard"
      interlock automations get "Offboard" > offboard.json
    """
    print_object(output, find_automation(session.api(), automation), "id")


@automations.command()
@click.argument("automation")
@click.option("--context", help="Data of the run, as ctx.trigger: a JSON object, @FILE, or - for stdin.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Seconds to wait for the end of the run.")
@click.option(
    "--lease",
    metavar="DURATION",
    help="Terminate the run after this time, such as 10m, unless it is renewed; 1 s to 30 days.",
)
@click.option("--idempotency-key", help="Requests with the same key start one run within 24 hours.")
@output_option
@click.pass_obj
def run(
    session: Session,
    automation: str,
    context: str | None,
    wait: float | None,
    lease: str | None,
    idempotency_key: str | None,
    output: Form,
) -> None:
    """Start a run of an automation, by id or exact name.

    With --wait the exit code is 0 only if the run ended in DONE, and 6 if it did not end in time.

    \b
    Examples:
      interlock automations run "Hello"
      interlock automations run "Offboard" --context '{"user": "ann"}' --wait 30
      interlock automations run "Nightly copy" --lease 10m
    """
    length = duration(lease, "--lease")
    given = read_context(context) if context is not None else None
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        why = "use 1 to 255 visible ASCII characters"
        raise Failure(f"--idempotency-key: {idempotency_key[:80]!r}: {why}", Exit.USAGE)
    api = session.api()
    target = find_automation(api, automation)
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    if wait is not None and wait >= _HELD_SECONDS:
        headers["Prefer"] = f"wait={_HELD_SECONDS}"
    began = session.clock.monotonic()
    reply = api.call(
        "POST",
        f"{_PATH}/{target['id']}/execute",
        {
            **({} if given is None else {"context": {"context": given}}),
            **({} if length is None else {"lease": length}),
        },
        headers=headers,
        repeatable=bool(idempotency_key),
    )
    execution = str(reply.body.get("executionId") or "")
    session.unfinished = goes_on(execution)
    if wait is None:
        columns: tuple[Column, ...] = (
            ("EXECUTION", lambda row: row["executionId"]),
            ("AUTOMATION", lambda _: target.get("displayName")),
        )
        print_rows(output, [{"executionId": execution}], columns, "executionId")
        session.hint(f"Follow the run: interlock executions watch {execution}")
        if length is not None:
            session.hint(f"Renew the lease: interlock executions renew {execution}")
        return
    held = session.clock.monotonic() - began
    try:
        ended = wait_until_ended(api, session.clock, execution, seconds=wait, waited=held)
    except Failure as failure:
        failure.hint = "\n".join(filter(None, (failure.hint, goes_on(execution))))
        raise
    print_object(output, ended, "id")
    check_ended(ended)


@automations.command()
@click.argument("automation_names", nargs=-1, required=True, metavar="AUTOMATION…")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def delete(session: Session, automation_names: tuple[str, ...], yes: bool) -> None:
    """Delete automations, by id or exact name. Active runs continue.

    \b
    Examples:
      interlock automations delete "Hello"
      interlock automations list --query test -o ids | xargs interlock automations delete --yes
    """
    api = session.api()
    targets, failures = [], list[Exit]()
    for name in automation_names:
        try:
            targets.append(find_automation(api, name))
        except Failure as failure:
            if failure.code is not Exit.NOT_FOUND:
                raise
            session.report(failure)
            failures.append(Exit.NOT_FOUND)
    if targets:
        names = ", ".join(str(target.get("displayName") or target["id"]) for target in targets)
        session.confirmed(f"Delete {names}?", yes=yes)
    done = 0
    for target in targets:
        try:
            api.call("DELETE", f"{_PATH}/{target['id']}")
            done += 1
        except Failure as failure:
            session.report(failure)
            failures.append(failure.code)
    click.get_current_context().exit(combined(done, failures))


_DECISIONS = {"run": "PAUSED_EXECUTION_DECISION_RUN", "cancel": "PAUSED_EXECUTION_DECISION_CANCEL"}
_PAUSED = "the runs that its circuit breaker paused"
_reason_option = click.option("--reason", default="", help="Why, for the audit record.")
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


@automations.command("clear-breaker")
@click.argument("automation")
@click.option("--run", "decision", flag_value="run", help=f"Run {_PAUSED}.")
@click.option("--cancel", "decision", flag_value="cancel", help=f"Cancel {_PAUSED}.")
@_reason_option
@_yes_option
@output_option
@click.pass_obj
def clear_breaker(
    session: Session, automation: str, decision: str | None, reason: str, yes: bool, output: Form
) -> None:
    """Close a tripped circuit breaker, so that new runs start again.

    Paused runs stay paused without --run or --cancel; decide about them later with `resolve-paused`.

    \b
    Examples:
      interlock automations clear-breaker "Offboard" --run
      interlock automations clear-breaker "Offboard" --cancel --reason "the source sent every user twice"
    """
    _settle(session, automation, "clear", decision, reason, output, yes=yes)


@automations.command("resolve-paused")
@click.argument("automation")
@click.option("--run", "decision", flag_value="run", help=f"Run {_PAUSED}.")
@click.option("--cancel", "decision", flag_value="cancel", help=f"Cancel {_PAUSED}.")
@_reason_option
@_yes_option
@output_option
@click.pass_obj
def resolve_paused(
    session: Session, automation: str, decision: str | None, reason: str, yes: bool, output: Form
) -> None:
    """Run or cancel paused runs, and leave the circuit breaker open.

    \b
    Examples:
      interlock automations resolve-paused "Offboard" --cancel --reason "done by hand"
    """
    if decision is None:
        raise click.UsageError("add --run or --cancel")
    _settle(session, automation, "resolve_paused", decision, reason, output, yes=yes)


def _settle(
    session: Session, name: str, action: str, decision: str | None, reason: str, output: Form, *, yes: bool
) -> None:
    api = session.api()
    target = find_automation(api, name)
    if decision == "cancel":
        session.confirmed(f"Cancel all paused runs of {target.get('displayName') or target['id']}?", yes=yes)
    body = {"reason": reason, **({} if decision is None else {"decision": _DECISIONS[decision]})}
    reply = api.call("POST", f"{_PATH}/{target['id']}/circuit_breaker/{action}", body)
    print_object(output, {"automation": target["id"], **reply.body}, "bulkActionId")


def find_automation(api: Api, name: str) -> dict[str, Any]:
    """Return the automation with this id, or else with exactly this displayName.

    Raises:
        Failure: No automation matches, or several have the name.
    """
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        try:
            found = api.call("GET", f"{_PATH}/{name}").body.get("automation")
        except Refused as refused:
            # The server answers 400 to a text that is not a valid id; a name may be such a text.
            if refused.status not in (400, 404):
                raise
        else:
            if isinstance(found, dict):
                return found
    found = _named(api, name)
    if found is None:
        hint = "List automations: interlock automations list"
        raise Failure(f"no automation has the id or the name {name!r}", Exit.NOT_FOUND, hint=hint)
    return found


def _named(api: Api, name: str) -> dict[str, Any] | None:
    rows = api.pages("POST", _SEARCH, "list", {"query": name}, 0)
    found = [row for row in rows if row.get("displayName") == name]
    if len(found) > 1:
        ids = ", ".join(str(row.get("id")) for row in found)
        raise Failure(f"{len(found)} automations have the name {name!r}: {ids}", hint="Use an id instead of the name.")
    return found[0] if found else None


def _apply_one(api: Api, automation: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
    ident = automation.get("id") or (_named(api, automation["displayName"]) or {}).get("id")
    result = "updated" if ident else "created"
    if dry_run:
        return {"id": ident or "", "displayName": automation.get("displayName", ""), "result": f"would be {result}"}
    members = {key: value for key, value in automation.items() if key not in _KEPT_BY_SERVER}
    if ident:
        body = {"automation": {"id": ident, **members}, "updateMask": ",".join(members)}
        reply = api.call("POST", f"{_PATH}/{ident}", body)
    else:
        reply = api.call("POST", _PATH, members, repeatable=False)
    made = reply.body.get("automation") or {}
    return {"id": made.get("id") or ident, "displayName": made.get("displayName", ""), "result": result}


def _refuse_twins(automations: list[dict[str, Any]]) -> None:
    keys = [automation.get("id") or automation["displayName"] for automation in automations]
    twins = sorted({key for key in keys if keys.count(key) > 1})
    if twins:
        raise Failure(f"the files contain these automations more than once: {', '.join(twins)}", Exit.USAGE)
