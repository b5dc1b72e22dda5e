"""The receipt: what a run had and had not done, for a program and for a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from interlock.contract.base import to_wire
from interlock.errors import InvalidArgument, NotFound
from interlock.operations.executions.detail import in_doubt
from interlock.operations.executions.receipt import receipt_of
from interlock.operations.executions.receipt_markdown import markdown
from interlock.operations.executions.views import AttemptView, ExecutionDetail, StepView
from interlock.ports import Phase
from interlock.rules.events import Terminated
from interlock.rules.model import Actor, Cause, TerminationRequest
from interlock.rules.outcomes import Outcome, Reached
from tests.clocks import settle
from tests.engine.worlds import Call
from tests.operations.operations_client import CALL, GREET, WAIT, CheckedFarEnd, OperationsClient, operations_client

pytestmark = pytest.mark.anyio

LISTS = ("done", "failed", "interrupted", "unknown", "neverStarted", "open", "late")
AFTER = {"stepName": "after", "evaluateExpressions": {"expressions": [{"key": "x", "expressionCel": "1"}]}}
NEVER = {**AFTER, "stepName": "skipped", "skipIfTrueCel": "true"}


@pytest.fixture
async def admin() -> AsyncIterator[OperationsClient]:
    async with operations_client() as made:
        yield made


async def receipt(admin: OperationsClient, execution: int) -> Any:
    return (await admin.ask("OwnGetReceipt", id=execution)).body


def shape(found: Any) -> dict[str, list[str]]:
    """The names of the steps in each list that has any."""
    return {name: [entry["step"] for entry in found[name]] for name in LISTS if found[name]}


async def stopped_while_calling(admin: OperationsClient, *, phase: Phase) -> Any:
    admin.engine.far.stays_at = phase
    execution = await admin.start(await admin.make(GREET, CALL, AFTER), name="Ann")
    await admin.ask("TerminateAutomation", {"reason": "wrong | person # <b>boo</b>"}, id=execution)
    await settle()
    return execution


async def test_a_run_that_went_through_has_done_everything(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(GREET, NEVER), name="Ann")
    found = await receipt(admin, execution)
    assert (found["state"], found["settled"]) == ("DONE", True)
    assert shape(found) == {"done": ["greet", "skipped"]}
    assert [entry["account"] for entry in found["done"]] == ["Done.", "Skipped by its condition."]
    assert "termination" not in found


@pytest.mark.parametrize(
    ("phase", "where", "outcome"),
    [
        (Phase.CONNECTING, "interrupted", "INTERRUPTED_NOT_SENT"),
        (Phase.WAITING, "unknown", "INTERRUPTED_OUTCOME_UNKNOWN"),
        (Phase.READING, "interrupted", "INTERRUPTED_RESPONSE"),
    ],
)
async def test_what_was_cut_stands_where_the_proof_puts_it(
    admin: OperationsClient, phase: Phase, where: str, outcome: str
) -> None:
    found = await receipt(admin, await stopped_while_calling(admin, phase=phase))
    assert shape(found) == {"done": ["greet"], where: ["call"], "neverStarted": ["after"]}
    [entry] = found[where]
    assert entry["outcome"] == outcome
    assert entry["idempotencyKey"].endswith(":call:1")
    assert found["termination"]["reason"] == "wrong | person # <b>boo</b>"


@pytest.mark.parametrize(
    ("phase", "begins"),
    [(Phase.WRITING, "The request was still being sent"), (Phase.WAITING, "The whole request was sent")],
)
async def test_what_is_not_known_says_how_far_the_request_had_got(
    admin: OperationsClient, phase: Phase, begins: str
) -> None:
    [entry] = (await receipt(admin, await stopped_while_calling(admin, phase=phase)))["unknown"]
    assert entry["account"].startswith(begins)
    assert entry["account"].endswith("whether the request had its effect is unknown.")


async def test_a_stopped_wait_is_interrupted_and_what_follows_never_started(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT, AFTER))
    assert shape(await receipt(admin, execution)) == {"open": ["hold", "after"]}
    await admin.ask("TerminateAutomation", id=execution)
    found = await receipt(admin, execution)
    assert shape(found) == {"interrupted": ["hold"], "neverStarted": ["after"]}
    assert found["interrupted"][0]["account"] == "Terminated while it waited."


async def test_a_request_without_an_answer_stays_in_doubt_whatever_the_next_attempt_became(
    admin: OperationsClient,
) -> None:
    execution = await admin.start(await admin.make(CALL))
    admin.engine.far.calls[-1].fail()
    await settle()
    await admin.ask("TerminateAutomation", id=execution)
    found = await receipt(admin, execution)
    assert shape(found) == {"unknown": ["call"]}
    [entry] = found["unknown"]
    assert entry["outcome"] == "FAILED"
    assert "may have had its effect" in entry["account"]
    assert entry["account"].endswith("It was not retried.")


@pytest.mark.parametrize(("status", "where"), [(None, "unknown"), (500, "failed")])
async def test_what_an_attempt_sent_is_not_forgotten_when_the_next_one_is_cut_before_it_sends(
    admin: OperationsClient, status: int | None, where: str
) -> None:
    execution = await admin.start(await admin.make(CALL))
    if status is None:
        admin.engine.far.calls[-1].fail()
    else:
        admin.engine.far.calls[-1].answer(status)
    await settle()
    admin.engine.far.stays_at = Phase.CONNECTING
    await admin.wait(3_600)
    assert len(admin.engine.far.calls) == 2
    await admin.ask("TerminateAutomation", id=execution)
    await settle()
    step = (await admin.detail(execution))["steps"][0]
    assert [attempt["outcome"] for attempt in step["attempts"]] == ["FAILED", "INTERRUPTED_NOT_SENT"]
    assert step["outcome"] == "FAILED"
    found = await receipt(admin, execution)
    assert shape(found) == {where: ["call"]}
    assert found[where][0]["outcome"] == "FAILED"


async def test_a_failure_with_an_answer_is_known(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(CALL))
    admin.engine.far.calls[-1].answer(410)
    await settle()
    found = await receipt(admin, execution)
    assert shape(found) == {"failed": ["call"]}
    assert (found["failed"][0]["outcome"], found["failed"][0]["status"]) == ("FAILED", 410)
    assert found["failed"][0]["account"] == "Failed: the receiver answered 410: it accepts no more calls."


async def test_the_text_for_a_person_holds_no_markup_but_ours(admin: OperationsClient) -> None:
    execution = await stopped_while_calling(admin, phase=Phase.WAITING)
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    assert (await admin.ask("OwnGetReceipt", id=execution, headers={"accept": "text/markdown"})).body == text
    assert text.startswith(f"# Receipt of execution {execution}\n")
    assert "| Reason | wrong \\| person \\# \\<b\\>boo\\</b\\> |" in text
    assert "| By | ann@localhost from 192.0.2.7 |" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Unknown (1)",
        "## Done (1)",
        "## Never started (1)",
    ]


async def test_the_text_says_in_words_what_it_was_and_why_it_ended(admin: OperationsClient) -> None:
    execution = await stopped_while_calling(admin, phase=Phase.WAITING)
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    for row in (
        "| State | TERMINATE: it was terminated |",
        "| Summary | 1 unknown, 1 done, 1 never started |",
        "| Cause | a request to terminate this execution |",
        "| Mode | interrupt: cancel the attempt in flight |",
        "| State before | performing a step |",
    ):
        assert row in text.splitlines()


async def test_the_text_of_a_tree_names_what_was_started_and_says_how_many_were_stopped_with_it(
    admin: OperationsClient,
) -> None:
    child = await admin.make(WAIT)
    start = {"stepName": "go", "runAutomation": {"automationTemplateRef": {"id": child}}}
    execution = await admin.start(await admin.make(start, WAIT))
    await admin.ask("TerminateAutomation", {"cascade": True}, id=execution)
    found = await receipt(admin, execution)
    [below] = found["children"]
    assert found["done"][0]["account"] == f"Done: it started execution {below['id']}."
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    assert "| Terminated with it | 1 descendant |" in text
    assert f"| {below['id']} | {below['automationDisplayName']} | TERMINATE |" in text


async def test_a_step_is_told_by_its_display_name_and_by_the_name_it_is_asked_about(admin: OperationsClient) -> None:
    step = {**CALL, "stepName": "create_account", "stepDisplayName": "Create the *account*"}
    execution = await admin.start(await admin.make(step, AFTER))
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    assert "| 1. Create the \\*account\\* (`create_account`) |" in text
    assert "| 2. after |" in text


@pytest.mark.parametrize("cause", Cause)
async def test_every_cause_of_a_stop_has_its_words(admin: OperationsClient, cause: Cause) -> None:
    execution = await admin.start(await admin.make(WAIT))
    above = 839_265 if cause is Cause.CASCADE else None
    order = TerminationRequest(Actor("ann"), cause=cause, cause_execution=above)
    await admin.services.store.executions.apply(admin.ref(execution), Terminated(admin.engine.clock.now(), order))
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    [row] = [line for line in text.splitlines() if line.startswith("| Cause | ")]
    assert row != f"| Cause | {cause} |"
    assert row.endswith("execution 839265 |") == (cause is Cause.CASCADE)


async def test_a_receipt_of_an_active_run_says_what_it_waits_for_and_doubts(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(CALL))
    accounts = [(await receipt(admin, execution))["open"][0]["account"]]
    answers: list[Callable[[Call], None]] = [lambda call: call.answer(503), Call.fail, lambda call: call.answer(202)]
    for answer in answers:
        answer(admin.engine.far.calls[-1])
        await settle()
        accounts.append((await receipt(admin, execution))["open"][0]["account"])
        await admin.wait(3_600)
    earlier = "An earlier attempt was sent and got no complete answer, so it may have had its effect."
    assert accounts == [
        "In progress.",
        "An attempt failed; the next attempt follows on 2025-06-15 at 15:06 UTC.",
        "An attempt got no complete answer, so it may have had its effect; "
        "the next attempt follows on 2025-06-15 at 16:06 UTC.",
        f"In progress: the receiver accepted the call and will answer later, until 2025-06-23 at 15:06 UTC. {earlier}",
    ]


async def test_there_are_two_forms_and_none_for_strangers(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(WAIT))
    with pytest.raises(InvalidArgument, match="format"):
        await admin.ask("OwnGetReceipt", id=execution, query={"format": "pdf"})
    with pytest.raises(NotFound):
        await (await admin.of_another_tenant()).ask("OwnGetReceipt", id=execution)


async def test_what_was_learned_too_late_stands_beside_and_changes_nothing() -> None:
    async with operations_client(far=CheckedFarEnd(deaf=True)) as admin:
        execution = await admin.start(await admin.make(CALL))
        await admin.ask("TerminateAutomation", {"deadline": "0s"}, id=execution)
        admin.engine.far.calls[0].answer()
        await settle()
        found = await receipt(admin, execution)
        assert shape(found) == {"unknown": ["call"], "late": ["call"]}
        assert (found["unknown"][0]["outcome"], found["late"][0]["outcome"]) == ("ABANDONED", "LATE_SUCCEEDED")


# --- whom to ask, and what was said -----------------------------------------------------------------------------------


async def test_a_refused_call_shows_the_answer_the_receiver_and_when_it_is_tried_again(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(CALL))
    admin.engine.far.calls[-1].answer(503, b"closed for lunch | <b>")
    await settle()
    [entry] = (await receipt(admin, execution))["open"]
    detail = await admin.detail(execution)
    assert (entry["status"], entry["answer"]) == (503, "closed for lunch | <b>")
    assert entry["receiver"] == {"webhookId": "hook", "displayName": "", "url": "https://far.example/in"}
    assert entry["nextAttemptAt"] == detail["wakeAt"]
    assert "waitsUntil" not in entry
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    assert "Receiver: webhook `hook` at `https://far.example/in`." in text
    assert "closed for lunch" in text
    await admin.wait(3_600)
    admin.engine.far.calls[-1].answer(202)
    await settle()
    [entry] = (await receipt(admin, execution))["open"]
    assert entry["waitsUntil"] == (await admin.detail(execution))["wakeAt"]
    assert "nextAttemptAt" not in entry


async def test_a_deleted_webhook_is_still_named(admin: OperationsClient) -> None:
    made = await admin.ask("CreateWebhook", {"displayName": "Ticket *desk*", "url": "https://far.example/x"})
    webhook = made.body["webhook"]["id"]
    step = {"stepName": "call", "webhook": {"webhookId": webhook, "payload": {}}}
    execution = await admin.start(await admin.make(step))
    admin.engine.far.calls[-1].answer(410)
    await settle()
    [entry] = (await receipt(admin, execution))["failed"]
    assert entry["receiver"] == {"webhookId": webhook, "displayName": "Ticket *desk*", "url": "https://far.example/x"}
    text = (await admin.ask("OwnGetReceipt", id=execution, query={"format": "markdown"})).body
    assert f"Receiver: webhook Ticket \\*desk\\* `{webhook}` at `https://far.example/x`." in text
    await admin.ask("DeleteWebhook", id=webhook)
    [entry] = (await receipt(admin, execution))["failed"]
    assert entry["receiver"] == {"webhookId": webhook, "displayName": "", "url": ""}


async def test_a_step_that_sent_nothing_has_no_key_to_ask_by(admin: OperationsClient) -> None:
    large = {"stepName": "call", "webhook": {"webhookId": "hook", "payload": {"x": "{{ ctx.trigger.x }}"}}}
    execution = await admin.start(await admin.make(GREET, large), name="Ann", x="y" * 300_000)
    found = await receipt(admin, execution)
    assert shape(found) == {"done": ["greet"], "failed": ["call"]}
    assert [entry["idempotencyKey"] for entry in (*found["done"], *found["failed"])] == ["", ""]


async def test_a_callback_that_settled_a_refused_call_is_what_the_receipt_says(admin: OperationsClient) -> None:
    execution = await admin.start(await admin.make(CALL))
    url = str(admin.engine.far.calls[-1].request.headers["Webhook-Callback-Url"])
    path = {"execution": str(execution), "token": url.rpartition("/")[2]}
    admin.engine.far.calls[-1].answer(503, b"no")
    await settle()
    await admin.ask("OwnReceiveCallback", {"a": 1}, path=path)
    await settle()
    [entry] = (await receipt(admin, execution))["done"]
    assert (entry["account"], entry["attempts"]) == ("Done: the receiver reported it in a callback.", 1)


OUTCOMES = [outcome for outcome in Outcome if not outcome.startswith("LATE")]
CERTAIN = {Outcome.SUCCEEDED: "done", Outcome.SKIPPED: "done", Outcome.NOT_STARTED: "neverStarted"}
CUT = {Outcome.INTERRUPTED_NOT_SENT, Outcome.INTERRUPTED_RESPONSE, Outcome.INTERRUPTED_WAITING}


@pytest.mark.parametrize("key", ["", "key"])
@pytest.mark.parametrize("reached", [None, *Reached])
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("phase", ["", *Phase])
@pytest.mark.parametrize("status", [0, 500])
def test_each_outcome_stands_in_one_list(
    key: str, reached: Reached | None, outcome: Outcome, phase: str, status: int
) -> None:
    """A failure is unknown for one reason alone: the kind said that it does not know how far it had reached."""
    attempt = AttemptView(number=1, outcome=outcome, phase=phase, status=status, in_doubt=in_doubt(outcome, reached))
    step = StepView(name="x", kind="sendEmail", outcome=outcome, idempotency_key=key, attempts=(attempt,))
    found = to_wire(receipt_of(ExecutionDetail(id=1, state="TERMINATE", steps=(step,))))
    [where] = [name for name in LISTS if found[name]]
    if outcome in CERTAIN:
        assert where == CERTAIN[outcome]
    elif outcome is Outcome.FAILED:
        assert where == ("unknown" if reached is Reached.UNKNOWN else "failed")
    else:
        assert where == ("interrupted" if outcome in CUT else "unknown")
    [entry] = found[where]
    sent_nothing = outcome is Outcome.FAILED and not phase and not status
    assert entry["idempotencyKey"] == ("" if sent_nothing else key)
    assert (found["unresolved"] == 1) == (where == "unknown")
    text = markdown(receipt_of(ExecutionDetail(id=1, state="TERMINATE", steps=(step,))))
    title = {"done": "Done", "failed": "Failed", "interrupted": "Interrupted", "unknown": "Unknown"}
    assert f"## {title.get(where, 'Never started')} (1)" in text.splitlines()


@pytest.mark.parametrize("called_back", [True, False])
async def test_an_accepted_call_keeps_its_status_and_its_key_however_its_wait_ends(
    admin: OperationsClient, called_back: bool
) -> None:
    execution = await admin.start(await admin.make(CALL))
    call = admin.engine.far.calls[-1]
    call.answer(202)
    await settle()
    if called_back:
        token = str(call.request.headers["Webhook-Callback-Url"]).rpartition("/")[2]
        await admin.ask("OwnReceiveCallback", {"a": 1}, path={"execution": str(execution), "token": token})
    else:
        await admin.engine.clock.jump(8 * 86_400)
    await settle()
    found = await receipt(admin, execution)
    [entry] = found["done" if called_back else "failed"]
    assert (entry["attempts"], entry["status"]) == (1, 202)
    assert entry["idempotencyKey"] == call.request.headers["Idempotency-Key"]
