"""Which entitlements a step or a trigger means: inclusions and exclusions."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message
from interlock.contract.refs import AppEntitlementRef


class EntitlementInclusionList(Message):
    """These entitlements."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementInclusionList"

    app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()


class EntitlementInclusionAll(Message):
    """Every entitlement."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementInclusionAll"


class EntitlementInclusionCriteria(Message):
    """Entitlements by app, kind of resource, framework or risk."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementInclusionCriteria"

    app_ids: tuple[str, ...] = ()
    compliance_framework_ids: tuple[str, ...] = ()
    resource_type_ids: tuple[str, ...] = ()
    risk_level_ids: tuple[str, ...] = ()


class EntitlementInclusionListCel(Message):
    """The entitlements an expression gives."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementInclusionListCel"

    app_entitlement_refs_cel: str = ""


class EntitlementInclusionAccessOnly(Message):
    """Only entitlements that give access to an app."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementInclusionAccessOnly"


class EntitlementExclusionNone(Message):
    """No exceptions."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementExclusionNone"


class EntitlementExclusionList(Message):
    """All but these entitlements."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementExclusionList"

    excluded_app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()


class EntitlementExclusionCriteria(Message):
    """All but what matches."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementExclusionCriteria"

    excluded_app_ids: tuple[str, ...] = ()
    excluded_compliance_framework_ids: tuple[str, ...] = ()
    excluded_resource_type_ids: tuple[str, ...] = ()
    excluded_risk_level_ids: tuple[str, ...] = ()


class EntitlementExclusionListCel(Message):
    """All but what an expression gives."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.EntitlementExclusionListCel"

    excluded_app_entitlement_refs_cel: str = ""


class GrantEntitlementInclusionList(Message):
    """Grant these entitlements."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementInclusionList"

    app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()


class GrantEntitlementInclusionCriteria(Message):
    """Grant what matches."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementInclusionCriteria"

    app_ids: tuple[str, ...] = ()
    compliance_framework_ids: tuple[str, ...] = ()
    risk_level_ids: tuple[str, ...] = ()


class GrantEntitlementInclusionListCel(Message):
    """Grant what an expression gives."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementInclusionListCel"

    app_entitlement_refs_cel: str = ""


class GrantEntitlementExclusionNone(Message):
    """No exceptions."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementExclusionNone"


class GrantEntitlementExclusionList(Message):
    """Never grant these."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementExclusionList"

    excluded_app_entitlement_refs: tuple[AppEntitlementRef, ...] = ()


class GrantEntitlementExclusionCriteria(Message):
    """Never grant what matches."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementExclusionCriteria"

    excluded_app_ids: tuple[str, ...] = ()
    excluded_compliance_framework_ids: tuple[str, ...] = ()
    excluded_risk_level_ids: tuple[str, ...] = ()


class GrantEntitlementExclusionListCel(Message):
    """Never grant what an expression gives."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.GrantEntitlementExclusionListCel"

    excluded_app_entitlement_refs_cel: str = ""
