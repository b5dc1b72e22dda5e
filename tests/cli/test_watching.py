"""An execution followed by the server's events; where there are none, or no server for a while, by looking."""

from __future__ import annotations

import socket

import pytest
from click.testing import Result

from interlock.cli.events import Event, events
from interlock.cli.failures import Exit, Unreachable
from interlock.cli.http import Api
from interlock.cli.profile import Profile
from tests.cli.conftest import AWAY, Answer, CommandLine, Server, lines, ok, refusal, stream

RUN = "/api/v1/automation_executions/7"
EVENTS = "/interlock/v1/executions/7/events"


def run(state: str) -> Answer:
    execution = {"id": "7", "automationTemplateId": "a1", "state": f"AUTOMATION_EXECUTION_STATE_{state}"}
    return ok({"automationExecution": execution})


def states(result: Result) -> list[str]:
    return [row["state"].removeprefix("AUTOMATION_EXECUTION_STATE_") for row in lines(result)]


def test_each_state_of_the_stream_is_printed_without_polling(server: Server, interlock: CommandLine) -> None:
    server.on("GET", RUN, run("PENDING"), run("TERMINATE"))
    told = stream((2, "PROCESS_STEP"), (3, "PROCESS_STEP"), (4, "STOPPING"), (5, "TERMINATE"))
    server.on("GET", EVENTS, told)
    result = interlock("executions", "watch", "7")
    assert result.exit_code == Exit.OK
    assert states(result) == ["PENDING", "PROCESS_STEP", "STOPPING", "TERMINATE"]
    assert {row["automationTemplateId"] for row in lines(result)} == {"a1"}
    assert len(server.asked("GET", RUN)) == 2
    assert interlock.clock.now == 0


def test_a_stream_that_ends_is_taken_up_where_it_was(server: Server, interlock: CommandLine) -> None:
    server.on("GET", RUN, run("PENDING"), run("WAITING"), run("DONE"))
    server.on("GET", EVENTS, stream((2, "PROCESS_STEP"), (3, "WAITING")), stream((4, "DONE")))
    assert states(interlock("executions", "watch", "7")) == ["PENDING", "PROCESS_STEP", "WAITING", "DONE"]
    assert [call.headers.get("last-event-id") for call in server.asked("GET", EVENTS)] == [None, "3"]


def test_an_end_that_fell_between_two_streams_is_seen(server: Server, interlock: CommandLine) -> None:
    server.on("GET", RUN, run("WAITING"), run("DONE"))
    server.on("GET", EVENTS, stream((2, "WAITING")))
    assert states(interlock("executions", "watch", "7")) == ["WAITING", "DONE"]
    assert len(server.asked("GET", EVENTS)) == 1


def test_a_silent_stream_is_given_up_in_time(server: Server, interlock: CommandLine) -> None:
    server.on("GET", RUN, run("WAITING"))
    server.on("GET", EVENTS, stream((2, "WAITING"), held=True))
    result = interlock("executions", "watch", "7", "--timeout", "0.05")
    assert result.exit_code == Exit.TIMEOUT
    assert "still WAITING" in result.stderr


@pytest.mark.parametrize(
    "answer", [refusal(404, "not found"), refusal(405, "no"), refusal(429, "full"), stream(media_type="text/html")]
)
def test_where_there_is_no_stream_it_is_looked_at(server: Server, interlock: CommandLine, answer: Answer) -> None:
    server.on("GET", RUN, *map(run, ("PENDING", "WAITING", "WAITING", "DONE")))
    server.on("GET", EVENTS, answer)
    assert states(interlock("executions", "watch", "7")) == ["PENDING", "WAITING", "DONE"]
    assert len(server.asked("GET", EVENTS)) == 1


@pytest.mark.parametrize("away", [AWAY, refusal(503, "the server is stopping")])
def test_a_server_that_comes_back_is_followed_on(server: Server, interlock: CommandLine, away: Answer) -> None:
    server.on("GET", RUN, run("PENDING"), away, away, away, run("WAITING"), run("DONE"))
    server.on("GET", EVENTS, stream((2, "WAITING")), stream((3, "DONE")))
    result = interlock("executions", "watch", "7", "--timeout", "30")
    assert result.exit_code == Exit.OK
    assert states(result) == ["PENDING", "WAITING", "DONE"]
    assert server.asked("GET", EVENTS)[1].headers["last-event-id"] == "2"


def test_a_server_that_stays_away_is_waited_for_as_long_as_was_said_or_a_minute(
    server: Server, interlock: CommandLine
) -> None:
    server.on("GET", EVENTS, AWAY)
    server.on("GET", RUN, run("WAITING"), AWAY)
    limited = interlock("executions", "watch", "7", "--timeout", "300")
    assert limited.exit_code == Exit.TIMEOUT
    assert "last seen in WAITING" in limited.stderr
    assert interlock.clock.now == pytest.approx(300)
    server.on("GET", RUN, run("WAITING"), AWAY)
    assert interlock("executions", "watch", "7").exit_code == Exit.ERROR
    assert interlock.clock.now == pytest.approx(361, abs=2)


def test_a_server_that_is_not_there_at_first_is_not_waited_for(server: Server, interlock: CommandLine) -> None:
    server.on("GET", RUN, AWAY)
    assert interlock("executions", "watch", "7", "--timeout", "300").exit_code == Exit.ERROR
    assert interlock.clock.now == 0


def test_a_port_that_refuses_can_be_tried_again() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        api = Api(Profile(f"http://127.0.0.1:{unheard.getsockname()[1]}", "calm-otter@127.0.0.1/spc", "s3cret"))
        for _ in range(2):
            with pytest.raises(Unreachable, match="refused"):
                api.call("GET", RUN)


def test_a_token_that_has_run_out_is_replaced(server: Server, interlock: CommandLine) -> None:
    def expire(_: object) -> Answer:
        server.token = "an0ther"
        return stream((2, "WAITING"))

    server.on("GET", RUN, run("PENDING"), run("WAITING"), run("DONE"))
    server.on("GET", EVENTS, expire, stream((3, "DONE")))
    assert states(interlock("executions", "watch", "7")) == ["PENDING", "WAITING", "DONE"]
    assert len(server.asked("POST", "/auth/v1/token")) == 2


def test_wait_is_told_by_events_too(server: Server, interlock: CommandLine) -> None:
    server.on("POST", f"{RUN}/actions/terminate", ok(Interlock_Termination="accepted; state=STOPPING"))
    server.on("GET", RUN, run("PROCESS_STEP"), run("TERMINATE"))
    server.on("GET", EVENTS, stream((4, "STOPPING"), (5, "TERMINATE")))
    assert lines(interlock("executions", "terminate", "7", "--wait", "60"))[0]["state"] == "TERMINATE"
    assert interlock.clock.now == 0


def test_events_are_read_from_lines() -> None:
    text = (
        ": still here\n\nretry: 1000\n\nid: 3\nevent: execution\ndata: a\ndata:b\n\nid: 4\n\ndata: c\n\ndata: cut off"
    )
    assert list(events(text.split("\n"))) == [Event("3", "a\nb"), Event("4", "c")]


def test_run_that_did_not_end_well_says_where_to_read_why(server: Server, interlock: CommandLine) -> None:
    server.on("GET", RUN, run("ERROR"))
    server.on("GET", EVENTS, stream((3, "ERROR")))
    followed = interlock("executions", "watch", "7", "--exit-status")
    assert followed.exit_code == Exit.ERROR
    assert "execution 7 ended in ERROR\nShow the receipt: interlock executions receipt 7\n" in followed.stderr
