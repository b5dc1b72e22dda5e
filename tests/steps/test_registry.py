"""The registry: which kinds run on a server, and what is said of those that do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import click
import pytest
from click.testing import CliRunner

from interlock.assembly.assemble import assembled
from interlock.assembly.step_kinds import RELEASED, kind_settings
from interlock.assembly.system import Platform
from interlock.cli.server_options import kind_options, settings_from
from interlock.contract.base import Message
from interlock.contract.steps import AutomationStep, SendSlackMessage, WaitForDuration
from interlock.expressions.check import Checker
from interlock.expressions.evaluate import LocalEvaluator
from interlock.rules.events import Announce
from interlock.settings import KindSetting, Settings
from interlock.steps import evaluate_expressions, wait_for_duration
from interlock.steps.attempt import Attempt, Items, Report, Succeeded
from interlock.steps.kind import (
    CompileContext,
    Form,
    PrepareContext,
    Ready,
    Step,
    StepKind,
    UnconfiguredKind,
    step_kind,
    unconfigured,
)
from interlock.steps.registry import StepRegistry
from interlock.store.sqlite.store import SqliteStore
from tests.clocks import FixedChance, ManualClock, SequentialIds
from tests.engine.worlds import ENVIRONMENT, FarEnd

TOKEN = KindSetting("slack_token", "The token of the app that posts messages.", "TOKEN")
CHANNEL = KindSetting("slack_channel", "Where messages go that name no channel.", "NAME", required=False)
SLACK = {"stepName": "tell", "sendSlackMessage": {"channelName": "it", "body": "hello"}}


class SlackStep(Step[SendSlackMessage]):
    """A kind as a stranger adds it: one class, its settings, and one function that takes what it acts on."""

    kind = "sendSlackMessage"
    form = Form.EFFECTFUL
    settings = (TOKEN, CHANNEL)

    def __init__(self, posted: list[str]) -> None:
        self.posted = posted

    @classmethod
    def compile(cls, message: SendSlackMessage, context: CompileContext, posted: list[str]) -> Self | None:
        if not message.body:
            context.problem("body", "is required")
            return None
        return cls(posted)

    async def prepare(self, context: PrepareContext) -> Ready:
        return Announce(context.position, b"{}")

    async def perform(self, attempt: Attempt, items: Items) -> Report:
        self.posted.append("hello")
        return Succeeded({})


def slack(posted: list[str], settings: Mapping[str, str]) -> StepKind | UnconfiguredKind:
    return unconfigured(SlackStep, settings) or step_kind(
        SlackStep, SendSlackMessage, lambda message, context: SlackStep.compile(message, context, posted)
    )


def steps(*given: object) -> list[AutomationStep]:
    return [AutomationStep.model_validate(each) for each in given]


def test_kind_with_its_settings_compiles_with_what_it_acts_on() -> None:
    posted: list[str] = []
    compiled = StepRegistry([slack(posted, {"slack_token": "x"})]).compile(steps(SLACK), ENVIRONMENT)
    assert (compiled.problems, compiled.unavailable) == ((), ())
    step = compiled.steps[0].step
    assert isinstance(step, SlackStep)
    assert step.posted is posted


@pytest.mark.parametrize("given", [{}, {"slack_token": ""}, {"slack_channel": "it"}])
def test_kind_without_a_required_setting_is_unavailable_and_names_it(given: dict[str, str]) -> None:
    registry = StepRegistry([slack([], given)])
    compiled = registry.compile(steps(SLACK), ENVIRONMENT)
    assert (compiled.steps, compiled.problems) == ((), ())
    (finding,) = compiled.unavailable
    assert finding.field == "automationSteps[0].sendSlackMessage"
    assert "--slack-token TOKEN (or INTERLOCK_SLACK_TOKEN)" in finding.description
    assert "slack-channel" not in finding.description
    assert [kind.step for kind in registry.unconfigured] == [SlackStep]


def test_facts_of_a_kind_hold_while_it_is_not_configured() -> None:
    assert StepRegistry([slack([], {})]).repeatable("sendSlackMessage")
    assert not StepRegistry([]).repeatable("sendSlackMessage")


def test_kind_that_is_not_registered_is_unavailable_without_a_setting() -> None:
    (finding,) = StepRegistry([evaluate_expressions.kind()]).compile(steps(SLACK), ENVIRONMENT).unavailable
    assert finding.description == (
        "steps of the kind sendSlackMessage cannot run on this server yet; a draft may contain it"
    )


def test_problems_name_the_member_and_the_step() -> None:
    given = {"stepName": "tell", "sendSlackMessage": {"channelName": "it"}}
    (found,) = StepRegistry([slack([], {"slack_token": "x"})]).compile(steps(given), ENVIRONMENT).problems
    assert (found.field, found.step) == ("automationSteps[0].sendSlackMessage.body", "tell")


def test_kind_refuses_the_message_of_another_kind() -> None:
    context = CompileContext(Checker(ENVIRONMENT, ()), "automationSteps[0].waitForDuration", "w")
    with pytest.raises(TypeError, match="WaitForDuration, not from SendSlackMessage"):
        wait_for_duration.kind().compile(SendSlackMessage(), context)
    assert wait_for_duration.kind().compile(WaitForDuration(), context) is None


def test_serve_takes_each_setting_as_an_option_and_as_a_variable() -> None:
    told: list[Settings] = []

    @click.command(context_settings={"auto_envvar_prefix": "INTERLOCK"})
    @kind_options([TOKEN, CHANNEL])
    def serve(**options: str) -> None:
        told.append(settings_from(options, [TOKEN, CHANNEL]))

    runner = CliRunner()
    assert runner.invoke(serve, ["--slack-token", "x"]).exit_code == 0
    assert runner.invoke(serve, [], env={"INTERLOCK_SLACK_CHANNEL": "it"}).exit_code == 0
    assert [settings.of_kinds for settings in told] == [{"slack_token": "x"}, {"slack_channel": "it"}]
    assert TOKEN.help in runner.invoke(serve, ["--help"]).output


def test_names_of_kinds_and_of_their_settings_are_unique() -> None:
    kinds: list[type[Step[Message]]] = list(RELEASED)
    assert len({step.kind for step in kinds}) == len(kinds)
    names = [setting.name for setting in kind_settings()]
    assert len(set(names)) == len(names)
    assert not set(names) & set(Settings.__dataclass_fields__)


@pytest.mark.anyio
async def test_server_registers_every_kind_of_the_release(tmp_path: Path) -> None:
    platform = Platform(
        ManualClock(),
        FixedChance(),
        SequentialIds,
        lambda directory, fail: SqliteStore(directory, on_fatal=fail),
        FarEnd(),
        LocalEvaluator,
    )
    async with assembled(Settings(data_dir=tmp_path / "data", grace=0), "localhost", platform=platform) as system:
        assert system.steps.released == {step.kind for step in RELEASED}
        needy = {step for step in RELEASED if any(setting.required for setting in step.settings)}
        assert {kind.step for kind in system.steps.unconfigured} == needy
