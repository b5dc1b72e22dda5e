"""Kinds of step that act on accounts and credentials through a connector or a vault."""

from __future__ import annotations

from typing import ClassVar

from interlock.contract.base import Message, Oneofs
from interlock.contract.enums import (
    STORE_CREDENTIAL_AUTH_TYPE,
    STORE_CREDENTIAL_VAULT_TYPE,
    StoreCredentialAuthType,
    StoreCredentialVaultType,
)
from interlock.contract.refs import ConnectorRef
from interlock.contract.scalars import Struct, UInt32
from interlock.contract.times import NonNegativeDuration


class AccountRef(Message):
    """An account, found by an expression."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AccountRef"

    account_id_cel: str = ""


class AccountInContext(Message):
    """The account the run is about."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AccountInContext"


class AccountLifecycleAction(Message):
    """Let a connector act on an account: enable, disable, delete."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.AccountLifecycleAction"
    oneofs: ClassVar[Oneofs] = {"account_identifier": ("accountRef", "accountInContext")}

    account_in_context: AccountInContext | None = None
    account_ref: AccountRef | None = None
    action_name: str = ""
    connector_ref: ConnectorRef | None = None


class ConnectorAction(Message):
    """Let a connector do something it offers."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ConnectorAction"

    action_name: str = ""
    args_template: Struct | None = None
    connector_ref: ConnectorRef | None = None
    resource_type_id: str = ""


class UserProperties(Message):
    """What a new account is made from, as expressions."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.UserProperties"

    display_name_cel: str = ""
    email_cel: str = ""
    profile_attribute_cel: str = ""
    username_cel: str = ""


class ConnectorCreateAccount(Message):
    """Let a connector make an account."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.ConnectorCreateAccount"
    oneofs: ClassVar[Oneofs] = {"create_account_arguments": ("userIdCel", "userProperties")}

    connector_ref: ConnectorRef | None = None
    password_cel: str = ""
    user_id_cel: str | None = None
    user_properties: UserProperties | None = None


class SetCredential(Message):
    """Set the password of an account."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.SetCredential"

    account_id_cel: str = ""
    connector_ref: ConnectorRef | None = None
    password_cel: str = ""


class StoreCredential(Message):
    """Store a credential in a user's vault."""

    proto_name: ClassVar[str] = "c1.api.automations.v1.StoreCredential"

    app_id_cel: str = ""
    auth_type: StoreCredentialAuthType = STORE_CREDENTIAL_AUTH_TYPE.zero
    credential_cel: str = ""
    expiry: NonNegativeDuration | None = None
    label_cel: str = ""
    max_views: UInt32 = 0
    recipient_cel: str = ""
    recipient_email_cel: str = ""
    ttl: NonNegativeDuration | None = None
    vault_type: StoreCredentialVaultType = STORE_CREDENTIAL_VAULT_TYPE.zero
