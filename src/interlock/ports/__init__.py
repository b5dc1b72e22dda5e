"""The Protocols between the rooms, and the records that they exchange.

Times are integer microseconds since 1970-01-01T00:00:00Z unless a name says otherwise.
"""

from interlock.ports.access import Access, ClientRow, Role, TenantRow, TenantSettings, TokenRow
from interlock.ports.addenda import Addenda, Addendum, AddendumFinding, AddendumReads
from interlock.ports.audit import AuditEntry, AuditLog, AuditRow
from interlock.ports.automations import (
    AutomationReads,
    AutomationRow,
    Automations,
    Definition,
    Schedule,
    ScheduledAutomation,
    WebhookReads,
    WebhookRow,
    Webhooks,
)
from interlock.ports.breakers import Breakers
from interlock.ports.bulk import Bulk, BulkAction, BulkKind
from interlock.ports.bulk_terminations import BulkTermination, BulkTerminations, PlanRow
from interlock.ports.executions import (
    Announced,
    ExecutionReads,
    Executions,
    Idempotency,
    ItemRow,
    Restored,
    Run,
    ScheduledFire,
    Started,
    StartRecords,
    StepRow,
    TreeStopped,
)
from interlock.ports.http import Http, HttpFailed, HttpFailureKind, HttpRequest, HttpResponse, Phase, Progress
from interlock.ports.leases import Leases
from interlock.ports.marks import Marks, NoMarks
from interlock.ports.retention import Retention
from interlock.ports.store import ChangeListener, CommitListener, Counters, Reads, Store
from interlock.ports.system import Clock, Health, Ids, Randomness
from interlock.ports.vault import Place, Revealed, SecretUnreadable, Vault

__all__ = [
    "Access",
    "Addenda",
    "Addendum",
    "AddendumFinding",
    "AddendumReads",
    "Announced",
    "AuditEntry",
    "AuditLog",
    "AuditRow",
    "AutomationReads",
    "AutomationRow",
    "Automations",
    "Breakers",
    "Bulk",
    "BulkAction",
    "BulkKind",
    "BulkTermination",
    "BulkTerminations",
    "ChangeListener",
    "ClientRow",
    "Clock",
    "CommitListener",
    "Counters",
    "Definition",
    "ExecutionReads",
    "Executions",
    "Health",
    "Http",
    "HttpFailed",
    "HttpFailureKind",
    "HttpRequest",
    "HttpResponse",
    "Idempotency",
    "Ids",
    "ItemRow",
    "Leases",
    "Marks",
    "NoMarks",
    "Phase",
    "Place",
    "PlanRow",
    "Progress",
    "Randomness",
    "Reads",
    "Restored",
    "Retention",
    "Revealed",
    "Role",
    "Run",
    "Schedule",
    "ScheduledAutomation",
    "ScheduledFire",
    "SecretUnreadable",
    "StartRecords",
    "Started",
    "StepRow",
    "Store",
    "TenantRow",
    "TenantSettings",
    "TokenRow",
    "TreeStopped",
    "Vault",
    "WebhookReads",
    "WebhookRow",
    "Webhooks",
]
