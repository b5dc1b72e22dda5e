"""A server that has no room, or is being restarted: a command waits for it, and a stop keeps trying."""

from __future__ import annotations

import socket
from itertools import accumulate

import pytest

from interlock.cli.failures import Exit
from interlock.cli.retrying import RETRY_SECONDS, STOP_RETRY_SECONDS
from tests.cli.conftest import AWAY, Answer, CommandLine, Server, lines, ok, refusal

TOKEN = ("POST", "/auth/v1/token")
TERMINATE = ("POST", "/api/v1/automation_executions/7/actions/terminate")
GRANTED = ok({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600})
STOPPED = ok(Interlock_Termination="accepted; state=TERMINATE")


def busy(status: int, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, {"message": "too many requests"}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("where", [TOKEN, TERMINATE])
def test_a_terminate_waits_as_long_as_it_is_told_and_gets_through(
    where: tuple[str, str], status: int, server: Server, interlock: CommandLine
) -> None:
    server.on(*TOKEN, GRANTED)
    server.on(*TERMINATE, STOPPED)
    server.on(
        *where, busy(status, Retry_After="7"), busy(status, Retry_After="9"), GRANTED if where is TOKEN else STOPPED
    )
    result = interlock("executions", "terminate", "7")
    assert result.exit_code == Exit.OK
    assert lines(result)[0]["state"] == "TERMINATE"
    assert interlock.clock.slept == [7, 9]
    assert "Execution 7 has not been terminated yet" in result.stderr
    assert "Retrying in 7.0 s" in result.stderr


@pytest.mark.parametrize("answer", [AWAY, busy(502), busy(504), busy(503)])
def test_a_terminate_gets_through_a_restart(answer: Answer, server: Server, interlock: CommandLine) -> None:
    server.on(*TERMINATE, *[answer] * 6, STOPPED)
    result = interlock("executions", "terminate", "7")
    assert result.exit_code == Exit.OK
    assert len(server.asked(*TERMINATE)) >= 7
    assert interlock.clock.slept == sorted(interlock.clock.slept)  # it asks less often with time


def test_a_terminate_of_a_server_that_is_down_ends_after_its_time(interlock: CommandLine) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        environ = {**interlock.environ, "CONDUCTORONE_SERVER_URL": f"http://127.0.0.1:{unused.getsockname()[1]}"}
        result = interlock("executions", "terminate", "7", environ=environ)
        assert result.exit_code == Exit.ERROR
        assert sum(interlock.clock.slept) == pytest.approx(STOP_RETRY_SECONDS)
        assert "Connection refused" in result.stderr.splitlines()[-2]
        interlock.clock.slept.clear()
        given = interlock("executions", "terminate", "7", "--retry-for", "0", environ=environ)
        assert (given.exit_code, interlock.clock.slept) == (Exit.ERROR, [])


def test_a_bulk_termination_keeps_trying_too(server: Server, interlock: CommandLine) -> None:
    plan = {"id": "p", "total": 1, "executions": []}
    order = {"bulkTermination": {"id": "p", "state": "DONE", "total": 1}}
    server.on("POST", "/interlock/v1/bulkTerminations/plan", AWAY, AWAY, busy(503), ok(plan))
    server.on("POST", "/interlock/v1/bulkTerminations", AWAY, AWAY, busy(429), ok(order))
    result = interlock("executions", "terminate", "--all")
    assert result.exit_code == Exit.OK
    assert "Nothing has been terminated yet" in result.stderr


def test_other_commands_wait_for_a_busy_server_but_not_for_ever(server: Server, interlock: CommandLine) -> None:
    server.on("POST", "/api/v1/search/automations", busy(429, Retry_After="3"), ok({"list": []}))
    assert interlock("automations", "list").exit_code == Exit.OK
    assert interlock.clock.slept == [3]
    interlock.clock.slept.clear()
    server.on("POST", "/api/v1/search/automations", busy(503))
    assert interlock("automations", "list").exit_code == Exit.ERROR
    assert sum(interlock.clock.slept) == pytest.approx(RETRY_SECONDS)


def test_a_wait_beyond_the_time_is_said_at_once(server: Server, interlock: CommandLine) -> None:
    server.on(*TOKEN, busy(429, Retry_After="3600"))
    result = interlock("automations", "list")
    assert (result.exit_code, interlock.clock.slept) == (Exit.ERROR, [])
    assert "3600 s" in result.stderr


@pytest.mark.parametrize("value", ["-1", "soon", "1e3", "Fri, 31 Dec 1999 23:59:59 GMT", "²", "9" * 40, ""])
def test_an_odd_retry_after_keeps_to_the_limits(value: str, server: Server, interlock: CommandLine) -> None:
    server.on(*TERMINATE, busy(429, Retry_After=value.encode().decode("latin-1")), STOPPED)
    assert interlock("executions", "terminate", "7").exit_code in (Exit.OK, Exit.ERROR)
    assert all(0 < seconds <= STOP_RETRY_SECONDS for seconds in interlock.clock.slept)
    assert len(list(accumulate(interlock.clock.slept))) <= 2


def test_what_might_have_been_done_is_not_done_twice(server: Server, interlock: CommandLine) -> None:
    server.on("GET", "/api/v1/automations/a1", ok({"automation": {"id": "a1"}}))
    server.on("POST", "/api/v1/automations/a1/execute", busy(503), ok({"executionId": "7"}))
    assert interlock("automations", "run", "a1").exit_code == Exit.ERROR
    assert len(server.asked("POST", "/api/v1/automations/a1/execute")) == 1
    server.on("POST", "/api/v1/automations/a1/execute", busy(429), ok({"executionId": "7"}))
    assert interlock("automations", "run", "a1").exit_code == Exit.OK
    server.on("POST", "/api/v1/automations/a1/execute", busy(503), ok({"executionId": "7"}))
    assert interlock("automations", "run", "a1", "--idempotency-key", "k").exit_code == Exit.OK


def test_a_wait_for_the_end_keeps_to_its_own_time(server: Server, interlock: CommandLine) -> None:
    running = {"automationExecution": {"id": "7", "state": "AUTOMATION_EXECUTION_STATE_WAITING"}}
    server.on("GET", "/api/v1/automation_executions/7", ok(running), refusal(503, "busy"))
    server.on("GET", "/interlock/v1/executions/7/events", refusal(503, "busy"))
    result = interlock("executions", "watch", "7", "--timeout", "5")
    assert result.exit_code == Exit.TIMEOUT
    assert sum(interlock.clock.slept) == pytest.approx(5)


def test_wrong_credentials_are_not_tried_again(server: Server, interlock: CommandLine) -> None:
    wrong = {**interlock.environ, "CONDUCTORONE_CLIENT_SECRET": "wrong"}
    result = interlock("executions", "terminate", "7", environ=wrong)
    assert (result.exit_code, interlock.clock.slept) == (Exit.AUTH, [])
    assert "calm-otter@127.0.0.1/spc" in result.stderr
