"""One step of an automation, and the kinds that need nothing but the engine.

Fields ending in `Cel` hold a bare expression; `body`, `subject`, `payload`, `argsTemplate` and the like hold text or
JSON with `{{ }}` in it. What a kind does is the business of `interlock.steps`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from interlock.contract.base import Message, Oneofs
from interlock.contract.connector_steps import (
    AccountLifecycleAction,
    ConnectorAction,
    ConnectorCreateAccount,
    SetCredential,
    StoreCredential,
)
from interlock.contract.identity_steps import (
    CreateAccessReview,
    CreateRevokeTasks,
    CreateRevokeTasksV2,
    GrantEntitlements,
    RemoveFromDelegation,
    TaskAction,
    UnenrollFromAllAccessProfiles,
    UpdateUser,
)
from interlock.contract.refs import AutomationContext, AutomationTemplateRef, UserRef
from interlock.contract.scalars import Bool, Int32, Struct
from interlock.contract.times import NonNegativeDuration

STEP_KINDS: Final = (
    "accountLifecycleAction",
    "callFunction",
    "connectorAction",
    "connectorCreateAccount",
    "createAccessReview",
    "createRevokeTasks",
    "createRevokeTasksV2",
    "evaluateExpressions",
    "generatePassword",
    "grantEntitlements",
    "removeFromDelegation",
    "runAutomation",
    "sendEmail",
    "sendSlackMessage",
    "setCredential",
    "storeCredential",
    "taskAction",
    "unenrollFromAllAccessProfiles",
    "updateUser",
    "waitForDuration",
    "webhook",
)
"""The kinds of step: the member of an AutomationStep that says what it does."""


class CallFunction(Message):
    """Run a function; each argument is an expression."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CallFunction"

    args: dict[str, str] = Field(default_factory=dict)
    function_id: str = ""


class Expression(Message):
    """A name and the expression behind it."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.Expression"

    expression_cel: str = ""
    is_secret: Bool = False
    key: str = ""


class EvaluateExpressions(Message):
    """Evaluate expressions into the context."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EvaluateExpressions"

    expressions: tuple[Expression, ...] = ()


class GeneratePasswordPolicy(Message):
    """What a generated password looks like; counts are characters."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GeneratePasswordPolicy"
    oneofs: ClassVar[Oneofs] = {"character_rules": ("noRestrictions", "customCharacters", "excludedCharacters")}

    custom_characters: str | None = None
    excluded_characters: str | None = None
    max_character_count: Int32 = 0
    min_character_count: Int32 = 0
    no_restrictions: Bool | None = None
    require_lowercase: Bool = False
    require_numbers: Bool = False
    require_special_characters: Bool = False
    require_uppercase: Bool = False


class GeneratePassword(Message):
    """Make a password."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GeneratePassword"

    password_policy_id: str = ""
    policy: GeneratePasswordPolicy | None = None


class RunAutomation(Message):
    """Start another automation."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.RunAutomation"
    oneofs: ClassVar[Oneofs] = {"automation_template": ("automationTemplateRef", "automationTemplateIdCel")}

    automation_template_id_cel: str | None = None
    automation_template_ref: AutomationTemplateRef | None = None
    context: AutomationContext | None = None


class SendEmail(Message):
    """Send an email to people or addresses."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SendEmail"

    body: str = ""
    email: str = ""
    email_cel: str = ""
    subject: str = ""
    title: str = ""
    use_subject_user: Bool = False
    user_ids_cel: str = ""
    user_refs: tuple[UserRef, ...] = ()


class SendSlackMessage(Message):
    """Post to a Slack channel, or to people."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SendSlackMessage"
    oneofs: ClassVar[Oneofs] = {"channel": ("channelName", "channelNameCel")}

    body: str = ""
    channel_is_id: Bool = False
    channel_name: str | None = None
    channel_name_cel: str | None = None
    use_subject_user: Bool = False
    user_ids_cel: str = ""
    user_refs: tuple[UserRef, ...] = ()


class WaitForDuration(Message):
    """Wait."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.WaitForDuration"

    duration: NonNegativeDuration | None = None


class Webhook(Message):
    """Call a webhook."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.Webhook"
    oneofs: ClassVar[Oneofs] = {"webhook_identifier": ("webhookId", "webhookIdCel")}

    payload: Struct | None = None
    webhook_id: str | None = None
    webhook_id_cel: str | None = None


class AutomationStep(Message):
    """One step: its name, when to skip it, and exactly one kind."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationStep"
    oneofs: ClassVar[Oneofs] = {"kind": STEP_KINDS}

    step_name: str = ""
    step_display_name: str = ""
    skip_if_true_cel: str = ""
    account_lifecycle_action: AccountLifecycleAction | None = None
    call_function: CallFunction | None = None
    connector_action: ConnectorAction | None = None
    connector_create_account: ConnectorCreateAccount | None = None
    create_access_review: CreateAccessReview | None = None
    create_revoke_tasks: CreateRevokeTasks | None = None
    create_revoke_tasks_v2: CreateRevokeTasksV2 | None = None
    evaluate_expressions: EvaluateExpressions | None = None
    generate_password: GeneratePassword | None = None
    grant_entitlements: GrantEntitlements | None = None
    remove_from_delegation: RemoveFromDelegation | None = None
    run_automation: RunAutomation | None = None
    send_email: SendEmail | None = None
    send_slack_message: SendSlackMessage | None = None
    set_credential: SetCredential | None = None
    store_credential: StoreCredential | None = None
    task_action: TaskAction | None = None
    unenroll_from_all_access_profiles: UnenrollFromAllAccessProfiles | None = None
    update_user: UpdateUser | None = None
    wait_for_duration: WaitForDuration | None = None
    webhook: Webhook | None = None

    @property
    def kind(self) -> tuple[str, Message] | None:
        """(one of STEP_KINDS, its message); None if the step names no kind that is known here."""
        return self.arm("kind")
