"""`interlock bulk-terminations`: follow and abort bulk terminations."""

from collections.abc import Mapping
from typing import Any

import click

from interlock.cli.failures import EXIT_CODES, Exit, Failure
from interlock.cli.http import Api
from interlock.cli.output import Column, Form, instant, print_object, print_rows
from interlock.cli.session import Session, limit_option, output_option
from interlock.cli.waiting import look_until

PATH = "/interlock/v1/bulkTerminations"
_RUNNING = "RUNNING"
_ABORTED = "ABORTED"

_COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: row.get("id")),
    ("STATE", lambda row: row.get("state")),
    ("DONE", lambda row: f"{_dealt_with(row)}/{row.get('total', 0)}"),
    ("ACCEPTED", lambda row: row.get("accepted")),
    ("REPEATED", lambda row: row.get("repeated")),
    ("FINISHED BEFORE", lambda row: row.get("alreadyFinished")),
    ("DENIED", lambda row: row.get("denied")),
    ("NOT FOUND", lambda row: row.get("notFound")),
    ("GIVEN", lambda row: instant(row.get("createdAt"))),
    ("REASON", lambda row: row.get("reason")),
)
_PLANNED: tuple[Column, ...] = (
    ("EXECUTION", lambda row: row.get("executionId")),
    ("AUTOMATION", lambda row: row.get("automationDisplayName") or row.get("automationTemplateId")),
    ("STATE", lambda row: row.get("state")),
    ("DONE", lambda row: " ".join(row.get("doneSteps") or ())),
    ("IN FLIGHT", lambda row: row.get("inFlight")),
    ("WAITS FOR", lambda row: row.get("waitingFor")),
    ("STARTED", lambda row: instant(row.get("createdAt"))),
)


@click.group(epilog=EXIT_CODES)
def bulk_terminations() -> None:
    """List, watch and abort bulk terminations."""


@bulk_terminations.command("list")
@limit_option
@output_option
@click.pass_obj
def list_(session: Session, limit: int, output: Form) -> None:
    """List bulk terminations, newest first.

    \b
    Examples:
      interlock bulk-terminations list
    """
    print_rows(output, session.api().pages("GET", PATH, "list", {}, limit), _COLUMNS, "id")


@bulk_terminations.command()
@click.argument("order")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Seconds to wait; then exit with code 6."
)
@output_option
@click.pass_obj
def watch(session: Session, order: str, timeout: float | None, output: Form) -> None:
    """Follow a bulk termination to its end.

    \b
    Examples:
      interlock bulk-terminations watch 2tXk0aB3cD4eF5gH6iJ7kL8mN9o
    """
    session.unfinished = _goes_on(order)
    ended = _follow(session, session.api(), order, timeout)
    print_rows(output, [ended], _COLUMNS, "id")


@bulk_terminations.command()
@click.argument("order")
@output_option
@click.pass_obj
def abort(session: Session, order: str, output: Form) -> None:
    """Abort a bulk termination. Runs that it has terminated stay terminated; a finished one does not change.

    \b
    Examples:
      interlock bulk-terminations abort 2tXk0aB3cD4eF5gH6iJ7kL8mN9o
    """
    reply = session.api().call("POST", f"{PATH}/{order}/actions/abort", {})
    order_ = reply.body["bulkTermination"]
    print_rows(output, [order_], _COLUMNS, "id")
    if order_["state"] not in {_RUNNING, _ABORTED}:
        session.hint("Nothing to abort: the bulk termination had finished.")


def terminate_all(
    session: Session,
    narrowing: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    plan_only: bool,
    yes: bool,
    wait: float | None,
    output: Form,
) -> None:
    """Plan a bulk termination, show the plan, ask for confirmation, request it, and wait if `wait` is set.

    Raises:
        Failure: The filter matches nothing (exit code 3), or the bulk termination took longer than `wait` (6).
    """
    api = session.api()
    plan = planned(session, api, {"filter": dict(narrowing)}, options)
    if plan_only:
        show_plan(session, plan, output)
        return
    if not plan["total"]:
        raise Failure("no active execution matches", Exit.NOT_FOUND)
    if session.interactive and not yes:
        print_rows("table", plan.get("executions") or (), _PLANNED, "executionId")
        _summarise(session, plan)
    number = "1 execution" if plan["total"] == 1 else f"{plan['total']:,} executions"
    session.confirmed(f"Terminate {number}{below(plan, options)}?", yes=yes)
    session.unfinished = (
        f"The termination of {number} may have been accepted and may continue. Check: interlock bulk-terminations list"
    )
    if options.get("pauseAutomation"):
        # A plan does not contain later runs; the server evaluates the filter again after it has paused new runs.
        meant: dict[str, Any] = {"filter": dict(narrowing)}
    else:
        meant = {"planId": plan["id"]}
        session.unfinished += f"; abort it: interlock bulk-terminations abort {plan['id']}"
    order = api.call("POST", PATH, {**meant, **options}).body["bulkTermination"]
    session.unfinished = _goes_on(order["id"])
    if wait is not None:
        order = _follow(session, api, order["id"], wait)
    print_rows(output, [order], _COLUMNS, "id")
    if options.get("pauseAutomation"):
        session.hint("New runs are paused until: interlock automations clear-breaker AUTOMATION")
    if not _is_over(order):
        session.hint(f"Follow the bulk termination: interlock bulk-terminations watch {order['id']}")


def planned(session: Session, api: Api, named: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan of a termination, with the number of descendants if it cascades."""
    cascade = {"cascade": True} if options.get("cascade") else {}
    plan = api.call("POST", f"{PATH}/plan", {**named, **cascade}, reads=True).body
    if options.get("cascade"):
        plan.setdefault("cascade", True)
    _warn_of_failures(session, plan)
    return plan


def show_plan(session: Session, plan: Mapping[str, Any], output: Form) -> None:
    """Print a plan without carrying it out.

    Raises:
        Failure: Named executions were not found (exit code 3, or 5 if others were found).
    """
    if output == "json":
        print_object(output, plan, "id")
    else:
        print_rows(output, plan.get("executions") or (), _PLANNED, "executionId")
        _summarise(session, plan)
    missing = int(plan.get("notFound") or 0)
    if missing:
        code = Exit.PARTLY if plan.get("total") else Exit.NOT_FOUND
        what = "1 execution was" if missing == 1 else f"{missing:,} executions were"
        raise Failure(f"{what} not found", code, hint="List executions: interlock executions list")


def below(plan: Mapping[str, Any], options: Mapping[str, Any], *, one: bool = False) -> str:
    """Return how many descendants a cascade terminates, for the end of a sentence."""
    if not options.get("cascade"):
        return ""
    them = "it" if one or plan.get("total") == 1 else "them"
    count = plan.get("descendants")
    if not isinstance(count, int) or isinstance(count, bool):
        return f", and all descendants of {them}"
    least = "at least " if plan.get("moreDescendants") else ""
    noun = "descendant" if count == 1 else "descendants"
    return f", and {least}{count:,} {noun} of {them}" if count else f", and no descendants of {them}"


def _warn_of_failures(session: Session, plan: Mapping[str, Any]) -> None:
    failures = plan.get("expressionFailures")
    if failures:
        session.warn(
            f"--where failed for {failures['count']:,} executions, which would not be stopped; "
            f"the first is execution {failures['executionId']}: {failures['error']}"
        )


def _summarise(session: Session, plan: Mapping[str, Any]) -> None:
    parts = [f"{state['count']:,} {state['state']}" for state in plan.get("states") or ()]
    shown = len(plan.get("executions") or ())
    more = f" (the first {shown} are shown)" if plan["total"] > shown else ""
    down = below(plan, plan)
    session.hint(f"{plan['total']:,} would be stopped: {', '.join(parts) or 'none'}{more}{down}.")


def _follow(session: Session, api: Api, order: str, seconds: float | None) -> dict[str, Any]:
    told = -1

    def look() -> dict[str, Any]:
        nonlocal told
        found: dict[str, Any] = api.call("GET", f"{PATH}/{order}").body["bulkTermination"]
        done = _dealt_with(found)
        if done != told:
            told = done
            session.hint(f"{done:,} of {found['total']:,}")
        return found

    found = look_until(look, _is_over, session.clock, seconds)
    if not _is_over(found):
        raise Failure(
            f"bulk termination {order} has not finished after {seconds:g} s", Exit.TIMEOUT, hint=_goes_on(order)
        )
    return found


def _goes_on(order: str) -> str:
    return (
        f"The bulk termination {order} continues. Follow it: interlock bulk-terminations watch {order}; "
        f"abort it: interlock bulk-terminations abort {order}"
    )


def _is_over(order: Mapping[str, Any]) -> bool:
    return bool(order["state"] != _RUNNING)


def _dealt_with(row: Mapping[str, Any]) -> int:
    return sum(int(row.get(name) or 0) for name in ("accepted", "repeated", "alreadyFinished", "denied", "notFound"))
