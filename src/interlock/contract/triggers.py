"""The 12 kinds of trigger, and the two that older clients still send.

`condition` and fields ending in `Cel` hold a bare expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from interlock.contract.base import Message, Oneofs
from interlock.contract.enums import (
    APP_USER_TYPE,
    GRANT_FILTER_TYPE,
    GRANT_JUSTIFICATION_TYPE,
    GRANT_SOURCE_FILTER,
    TRIGGER_TYPE,
    AppUserType,
    GrantFilterType,
    GrantJustificationType,
    GrantSourceFilter,
)
from interlock.contract.refs import AppEntitlementRef, UserRef
from interlock.contract.scalars import Bool, UInt32, Verbatim
from interlock.contract.selections import (
    EntitlementInclusionAll,
    EntitlementInclusionCriteria,
    EntitlementInclusionList,
    EntitlementInclusionListCel,
)
from interlock.contract.times import Timestamp

TRIGGER_KINDS: Final = (
    "accessConflict",
    "appUserCreated",
    "appUserUpdated",
    "grantDeleted",
    "grantFound",
    "schedule",
    "scheduleAppUser",
    "scheduleNoUser",
    "usageBasedRevocation",
    "userCreated",
    "userProfileChange",
    "webhook",
)
"""The kinds of trigger: the member of an AutomationTrigger that says what starts a run."""

LEGACY_TRIGGER_KINDS: Final = ("manual", "form")
"""Kinds that older clients send for an automation on demand; kept and returned."""

TRIGGER_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accessConflict": "TRIGGER_TYPE_ACCESS_CONFLICT",
        "appUserCreated": "TRIGGER_TYPE_APP_USER_CREATE",
        "appUserUpdated": "TRIGGER_TYPE_APP_USER_UPDATE",
        "grantDeleted": "TRIGGER_TYPE_GRANT_DELETED",
        "grantFound": "TRIGGER_TYPE_GRANT_FOUND",
        "schedule": "TRIGGER_TYPE_SCHEDULE",
        "scheduleAppUser": "TRIGGER_TYPE_SCHEDULE_APP_USER",
        "scheduleNoUser": "TRIGGER_TYPE_SCHEDULE_NO_USER",
        "usageBasedRevocation": "TRIGGER_TYPE_UNUSED_ACCESS",
        "userCreated": "TRIGGER_TYPE_USER_CREATED",
        "userProfileChange": "TRIGGER_TYPE_USER_PROFILE_CHANGE",
        "webhook": "TRIGGER_TYPE_WEBHOOK",
        "form": "TRIGGER_TYPE_FORM",
        "manual": TRIGGER_TYPE.zero,
    }
)
"""Kind of trigger → its name as an automation's `primaryTriggerType`; on demand has none of its own."""


class ConflictMonitorRef(Message):
    """A conflict monitor."""

    proto_name: ClassVar[str] = "c1.api.accessconflict.v1.ConflictMonitorRef"

    id: str = ""


class ConflictMonitorRefs(Message):
    """Several conflict monitors."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ConflictMonitorRefs"

    conflict_monitor_refs: tuple[ConflictMonitorRef, ...] = ()


class AccessConflictTrigger(Message):
    """A person holds access that conflicts."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AccessConflictTrigger"
    oneofs: ClassVar[Oneofs] = {"conflict_monitor_selector": ("conflictMonitorRefs", "allConflictMonitors")}

    all_conflict_monitors: Bool | None = None
    conflict_monitor_refs: ConflictMonitorRefs | None = None


class AppUserCreatedTrigger(Message):
    """An account appeared in an app."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AppUserCreatedTrigger"
    oneofs: ClassVar[Oneofs] = {"app_identifier": ("appId", "appIdCel")}

    app_id: str | None = None
    app_id_cel: str | None = None
    condition: str = ""


class AppUserUpdatedTrigger(Message):
    """An account changed."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AppUserUpdatedTrigger"
    oneofs: ClassVar[Oneofs] = {"app_identifier": ("appId", "appIdCel")}

    app_id: str | None = None
    app_id_cel: str | None = None
    condition: str = ""


class AccountFilter(Message):
    """Which kinds of account count."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantTriggerFilter.AccountFilter"

    account_type: AppUserType = APP_USER_TYPE.zero


class GrantFilter(Message):
    """Which kinds of grant count."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantTriggerFilter.GrantFilter"

    grant_filter_type: GrantFilterType = GRANT_FILTER_TYPE.zero
    grant_justification_type: GrantJustificationType = GRANT_JUSTIFICATION_TYPE.zero
    grant_source_filter: GrantSourceFilter = GRANT_SOURCE_FILTER.zero


class LegacyEntitlementFilter(Message):
    """Which entitlements count, as older clients say it."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantTriggerFilter.EntitlementFilter"

    app_id: str = ""
    app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()
    app_entitlement_refs_cel: str = ""


class GrantTriggerFilter(Message):
    """Which grants a grant trigger looks at."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantTriggerFilter"
    oneofs: ClassVar[Oneofs] = {
        "entitlement_inclusion": ("inclusionList", "inclusionAll", "inclusionCriteria", "inclusionListCel")
    }

    account_filter: AccountFilter | None = None
    grant_filter: GrantFilter | None = None
    inclusion_all: EntitlementInclusionAll | None = None
    inclusion_criteria: EntitlementInclusionCriteria | None = None
    inclusion_list: EntitlementInclusionList | None = None
    inclusion_list_cel: EntitlementInclusionListCel | None = None
    entitlement_filter: LegacyEntitlementFilter | None = None


class GrantFoundTrigger(Message):
    """Starts when a grant is found."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantFoundTrigger"

    grant_trigger_filter: GrantTriggerFilter | None = None


class GrantDeletedTrigger(Message):
    """Starts when a grant is deleted."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantDeletedTrigger"

    grant_trigger_filter: GrantTriggerFilter | None = None


class ScheduleTrigger(Message):
    """At set times, for each person who matches."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ScheduleTrigger"

    advanced: Bool = False
    condition: str = ""
    cron_spec: str = ""
    skip_if_true_cel: str = ""
    start: Timestamp | None = None
    timezone: str = ""


class ScheduleTriggerAppUser(Message):
    """At set times, for each account of an app that matches."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ScheduleTriggerAppUser"

    app_id: str = ""
    condition: str = ""
    cron_spec: str = ""
    start: Timestamp | None = None
    timezone: str = ""


class ScheduleTriggerNoUser(Message):
    """At set times, once."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ScheduleTriggerNoUser"

    advanced: Bool = False
    cron_spec: str = ""
    start: Timestamp | None = None
    timezone: str = ""


class RunDelayed(Message):
    """Start after some days."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.RunDelayed"
    required: ClassVar[tuple[str, ...]] = ("coldStartDelayDays",)

    cold_start_delay_days: UInt32 = 0


class RunImmediately(Message):
    """Start at once."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.RunImmediately"


class UsageBasedRevocationTrigger(Message):
    """Access was not used for some days."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UsageBasedRevocationTrigger"
    oneofs: ClassVar[Oneofs] = {"cold_start_schedule": ("runImmediately", "runDelayed")}

    app_id: str = ""
    enabled_at: Timestamp | None = None
    excluded_group_refs: tuple[AppEntitlementRef, ...] = ()
    excluded_user_refs: tuple[UserRef, ...] = ()
    include_users_with_no_activity: Bool = False
    run_delayed: RunDelayed | None = None
    run_immediately: RunImmediately | None = None
    targeted_app_user_types: tuple[AppUserType, ...] = ()
    targeted_entitlement_refs: tuple[AppEntitlementRef, ...] = ()
    unused_for_days: UInt32 = 0


class UserCreatedTrigger(Message):
    """A person appeared."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UserCreatedTrigger"

    condition: str = ""


class UserProfileChangeTrigger(Message):
    """A person changed."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UserProfileChangeTrigger"

    condition: str = ""


class WebhookListenerAuthCapabilityURL(Message):
    """Authentication by the URL alone: a caller that knows the URL may call."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.WebhookListenerAuthCapabilityURL"


class WebhookListenerAuthHMAC(Message):
    """Calls are signed with a shared secret."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.WebhookListenerAuthHMAC"


class WebhookListenerAuthJWT(Message):
    """Calls carry a JWT signed by a key of a published set."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.WebhookListenerAuthJWT"

    jwks_url: str = ""


class WebhookAutomationTrigger(Message):
    """Starts when a caller calls the automation's URL."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.WebhookAutomationTrigger"
    oneofs: ClassVar[Oneofs] = {"auth_config": ("jwt", "hmac", "capabilityUrl")}

    capability_url: WebhookListenerAuthCapabilityURL | None = None
    hmac: WebhookListenerAuthHMAC | None = None
    jwt: WebhookListenerAuthJWT | None = None
    listener_id: str = ""


class ManualAutomationTrigger(Message):
    """On demand, as older clients say it."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ManualAutomationTrigger"


class FormTrigger(Message):
    """On demand with a form, as older clients say it."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.FormTrigger"

    form: Verbatim | None = None


class AutomationTrigger(Message):
    """What starts a run: exactly one kind."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AutomationTrigger"
    oneofs: ClassVar[Oneofs] = {"kind": TRIGGER_KINDS + LEGACY_TRIGGER_KINDS}

    access_conflict: AccessConflictTrigger | None = None
    app_user_created: AppUserCreatedTrigger | None = None
    app_user_updated: AppUserUpdatedTrigger | None = None
    grant_deleted: GrantDeletedTrigger | None = None
    grant_found: GrantFoundTrigger | None = None
    schedule: ScheduleTrigger | None = None
    schedule_app_user: ScheduleTriggerAppUser | None = None
    schedule_no_user: ScheduleTriggerNoUser | None = None
    usage_based_revocation: UsageBasedRevocationTrigger | None = None
    user_created: UserCreatedTrigger | None = None
    user_profile_change: UserProfileChangeTrigger | None = None
    webhook: WebhookAutomationTrigger | None = None
    manual: ManualAutomationTrigger | None = None
    form: FormTrigger | None = None

    @property
    def kind(self) -> tuple[str, Message] | None:
        """(one of TRIGGER_KINDS or LEGACY_TRIGGER_KINDS, its message); None if the trigger names no known kind."""
        return self.arm("kind")
