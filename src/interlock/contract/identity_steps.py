"""Kinds of step that act on people, their access and their tasks."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message, Oneofs
from interlock.contract.enums import (
    REVOKE_GRANT_SOURCE_FILTER,
    TASK_USER_RELATION,
    RevokeGrantSourceFilter,
    TaskType,
    TaskUserRelation,
    UserStatus,
)
from interlock.contract.refs import AppEntitlementRef, UserRef
from interlock.contract.scalars import Bool
from interlock.contract.selections import (
    EntitlementExclusionCriteria,
    EntitlementExclusionList,
    EntitlementExclusionListCel,
    EntitlementExclusionNone,
    EntitlementInclusionAccessOnly,
    EntitlementInclusionAll,
    EntitlementInclusionCriteria,
    EntitlementInclusionList,
    EntitlementInclusionListCel,
    GrantEntitlementExclusionCriteria,
    GrantEntitlementExclusionList,
    GrantEntitlementExclusionListCel,
    GrantEntitlementExclusionNone,
    GrantEntitlementInclusionCriteria,
    GrantEntitlementInclusionList,
    GrantEntitlementInclusionListCel,
)


class CloseAction(Message):
    """Close the tasks."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CloseAction"
    oneofs: ClassVar[Oneofs] = {"user_identifier": ("userIdCel", "userRef")}

    use_subject_user: Bool = False
    user_id_cel: str | None = None
    user_ref: UserRef | None = None


class ReassignAction(Message):
    """Reassign the tasks to another user."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ReassignAction"
    oneofs: ClassVar[Oneofs] = {
        "assignee_user_identifier": ("assigneeUserIdCel", "assigneeUserRef"),
        "subject_user_identifier": ("subjectUserIdCel", "subjectUserRef"),
    }

    assignee_user_id_cel: str | None = None
    assignee_user_ref: UserRef | None = None
    subject_user_id_cel: str | None = None
    subject_user_ref: UserRef | None = None
    use_subject_user: Bool = False


class TaskAction(Message):
    """Close or reassign the open tasks of a person."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.TaskAction"
    oneofs: ClassVar[Oneofs] = {"action": ("close", "reassign")}

    close: CloseAction | None = None
    reassign: ReassignAction | None = None
    task_types: tuple[TaskType, ...] = ()
    task_user_relation: TaskUserRelation = TASK_USER_RELATION.zero


class CreateAccessReview(Message):
    """Start a campaign from a template."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CreateAccessReview"

    access_review_template_cel: str = ""
    access_review_template_id: str = ""
    campaign_name: str = ""
    use_subject_user: Bool = False
    user_ids_cel: str = ""
    user_refs: tuple[UserRef, ...] = ()


class CreateRevokeTasks(Message):
    """Open revocation tasks (the older form)."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CreateRevokeTasks"

    app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()
    app_entitlement_refs_cel: str = ""
    excluded_app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()
    excluded_app_entitlement_refs_cel: str = ""
    revoke_all: Bool = False
    use_subject_user: Bool = False
    user_id_cel: str = ""
    user_ref: UserRef | None = None


class CreateRevokeTasksV2(Message):
    """Open revocation tasks for what is included and not excluded."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.CreateRevokeTasksV2"
    oneofs: ClassVar[Oneofs] = {
        "user": ("userIdCel", "userRef", "useSubjectUser"),
        "inclusion": ("inclusionList", "inclusionAll", "inclusionCriteria", "inclusionListCel", "inclusionAccessOnly"),
        "exclusion": ("exclusionNone", "exclusionList", "exclusionCriteria", "exclusionListCel"),
    }

    exclusion_criteria: EntitlementExclusionCriteria | None = None
    exclusion_list: EntitlementExclusionList | None = None
    exclusion_list_cel: EntitlementExclusionListCel | None = None
    exclusion_none: EntitlementExclusionNone | None = None
    grant_source_filter: RevokeGrantSourceFilter = REVOKE_GRANT_SOURCE_FILTER.zero
    inclusion_access_only: EntitlementInclusionAccessOnly | None = None
    inclusion_all: EntitlementInclusionAll | None = None
    inclusion_criteria: EntitlementInclusionCriteria | None = None
    inclusion_list: EntitlementInclusionList | None = None
    inclusion_list_cel: EntitlementInclusionListCel | None = None
    use_subject_user: Bool | None = None
    user_id_cel: str | None = None
    user_ref: UserRef | None = None


class GrantEntitlements(Message):
    """Grant what is included and not excluded."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlements"
    oneofs: ClassVar[Oneofs] = {
        "inclusion": ("inclusionList", "inclusionCriteria", "inclusionListCel"),
        "exclusion": ("exclusionNone", "exclusionList", "exclusionCriteria", "exclusionListCel"),
    }

    exclusion_criteria: GrantEntitlementExclusionCriteria | None = None
    exclusion_list: GrantEntitlementExclusionList | None = None
    exclusion_list_cel: GrantEntitlementExclusionListCel | None = None
    exclusion_none: GrantEntitlementExclusionNone | None = None
    inclusion_criteria: GrantEntitlementInclusionCriteria | None = None
    inclusion_list: GrantEntitlementInclusionList | None = None
    inclusion_list_cel: GrantEntitlementInclusionListCel | None = None
    use_subject_user: Bool = False
    user_id_cel: str = ""
    user_ref: UserRef | None = None
    app_entitlement_refs: tuple[AppEntitlementRef, ...] | None = None
    app_entitlement_refs_cel: str | None = None


class RemoveFromDelegation(Message):
    """Replace a delegate by another user."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.RemoveFromDelegation"
    oneofs: ClassVar[Oneofs] = {"replacement_user": ("replacementUserIdCel", "replacementUserRef")}

    replacement_user_id_cel: str | None = None
    replacement_user_ref: UserRef | None = None
    use_subject_user: Bool = False
    user_id_cel: str = ""
    user_ref: UserRef | None = None


class UnenrollFromAllAccessProfiles(Message):
    """Take people out of access profiles."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UnenrollFromAllAccessProfiles"

    catalog_ids: tuple[str, ...] = ()
    catalog_ids_cel: str = ""
    use_subject_user: Bool = False
    user_ids_cel: str = ""
    user_refs: tuple[UserRef, ...] = ()


class UpdateUser(Message):
    """Enable, disable or delete a person."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UpdateUser"
    oneofs: ClassVar[Oneofs] = {"user": ("userIdCel", "userRef"), "user_status": ("userStatusEnum", "userStatusCel")}

    use_subject_user: Bool = False
    user_id_cel: str | None = None
    user_ref: UserRef | None = None
    user_status_cel: str | None = None
    user_status_enum: UserStatus | None = None
