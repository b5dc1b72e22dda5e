"""The Protocols through which the rooms meet, and the records that pass through them.

Times are integer microseconds since 1970-01-01T00:00:00Z unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from interlock.errors import InterlockError
from interlock.rules.admit import Newcomer
from interlock.rules.decision import Decision
from interlock.rules.events import Created, Event
from interlock.rules.model import Actor, Execution, Ref, Termination, TerminationRequest
from interlock.rules.outcomes import Outcome
from interlock.rules.states import State, WaitingFor

# --- the world: time, ids, chance -------------------------------------------------------------------------------------


class Clock(Protocol):
    """The time."""

    def now(self) -> int:
        """Engine time: wall time at the start of the process plus what has passed since. It never jumps."""
        ...

    def wall(self) -> int:
        """The wall clock as it is now; for what others judge by their own clocks (tokens, assertions)."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Return once `now()` has reached `at`; never early."""
        ...


class Ids(Protocol):
    """New identities."""

    def execution(self) -> int:
        """41 bits of milliseconds and 12 of sequence: below 2**53, never at or below one given earlier."""
        ...

    def text(self) -> str:
        """27 characters of 0-9A-Za-z, as C1's own ids."""
        ...

    def secret(self) -> str:
        """43 characters of base64url: 256 random bits."""
        ...


class Randomness(Protocol):
    """Chance that need not be secret: back-off and the like."""

    def chance(self) -> float:
        """A number in [0, 1)."""
        ...


# --- outbound HTTP ----------------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """How far an outbound request has got."""

    IDLE = "idle"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    TLS = "tls"
    WRITING = "writing"
    WAITING = "waiting"
    READING = "reading"
    DONE = "done"


@dataclass(slots=True)
class Progress:
    """Kept true by the client while a request is under way, and read by whoever interrupted it."""

    phase: Phase = Phase.IDLE
    bytes_written: int = 0
    """Bytes that may have left this machine; 0 is proof that none did."""
    status: int | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An outbound request. `timeout` is seconds for the whole of it, `max_response` bytes after decompression."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    timeout: float = 30.0
    max_response: int = 250_000


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete answer. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpFailureKind(StrEnum):
    """Why no complete answer came."""

    BLOCKED = "blocked"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    TOO_LARGE = "too_large"
    PROTOCOL = "protocol"


class HttpFailed(InterlockError):
    """The request got no complete answer."""

    code = "HTTP_FAILED"

    def __init__(self, kind: HttpFailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def retryable(self) -> bool:
        """Whether a later attempt could end otherwise; whether one may be made is for the step to say."""
        return self.kind not in (HttpFailureKind.BLOCKED, HttpFailureKind.TOO_LARGE)


class Http(Protocol):
    """Outbound HTTP, guarded: it goes only where the operator permits."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpResponse:
        """Send once and return the answer, whatever its status; redirects are not followed.

        Cancelling the call closes the connection at once.

        Raises:
            HttpFailed: no complete answer came.
        """
        ...

    def check_url(self, url: str) -> None:
        """Refuse, when it is saved, a URL that could never be called.

        Raises:
            InvalidArgument: with the reason.
        """
        ...


# --- the store --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What goes into the audit record beside a change. `action` is `resource.verb`, `details` is JSON text."""

    actor: Actor
    action: str
    target: str
    outcome: str = "ok"
    reason: str = ""
    details: bytes | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """An immutable plan: a published version, or a draft as it was when it was run. The JSON is in stored form."""

    tenant: int
    id: int
    automation: str
    version: int
    """1 and up for published versions; 0 for a draft."""
    steps: bytes
    triggers: bytes
    context: bytes | None
    created_at: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """One attempt at a step, or a step that took no time."""

    position: int
    attempt: int
    """1 and up; a step that took no time has one row, numbered 1."""
    epoch: int
    started_at: int
    settled_at: int | None
    outcome: Outcome | None
    """None while open; show it through `rules.outcomes.shown`."""
    waiting_for: WaitingFor | None = None
    input: bytes | None = None
    output: bytes | None = None
    error: bytes | None = None
    status: int | None = None
    phase: str | None = None
    late: bytes | None = None
    """JSON list of late results: evidence."""


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One of several items of an attempt."""

    position: int
    attempt: int
    item: int
    name: str
    outcome: Outcome | None
    settled_at: int | None
    output: bytes | None = None
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What `advance` needs to go on with a run: the row, its input, and what its steps returned."""

    execution: Execution
    input: bytes
    outputs: tuple[tuple[int, bytes], ...]
    """(position, JSON text) of each step that succeeded with an output, in order."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key for one start. `body` is the digest of what was asked for."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """The answer of `create`. `repeated`: the idempotency key was known; `execution` is the first one's."""

    execution: Execution
    decision: Decision | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class TreeStopped:
    """The answer of a cascading termination: the decision for the named run, and how many below it were stopped."""

    decision: Decision
    descendants: int
    more: bool
    """The tree was larger than one commit takes; the rest is fenced and follows in batches."""


class Executions(Protocol):
    """Runs. Every change of one goes through `apply`; a commit that cannot be made raises `Unavailable`."""

    def create(
        self, newcomer: Newcomer, event: Created, input: bytes, audit: AuditEntry, idempotency: Idempotency | None
    ) -> Awaitable[Started]:
        """Let a run in.

        Raises:
            NotFound: the automation is unknown or deleted.
            AlreadyExists: the idempotency key was used with another body.
            Unavailable: the disk is full, or the store is closing.
        """
        ...

    def apply(self, ref: Ref, event: Event) -> Awaitable[Decision | None]:
        """In one transaction: read the row, ask `decide`, write its answer. None: there is no such run."""
        ...

    def terminate_tree(self, ref: Ref, at: int, request: TerminationRequest) -> Awaitable[TreeStopped | None]:
        """Terminate a run and every run below it in one commit; above 10,000 the rest is fenced and follows."""
        ...

    def terminate_many(
        self, tenant: int, ids: Sequence[int], at: int, request: TerminationRequest
    ) -> Awaitable[Mapping[int, str]]:
        """Set-based termination of up to 250 runs in one commit: id to verdict; unknown ids are left out."""
        ...

    def cascades_left(self) -> Awaitable[None]:
        """Wait until an order to stop a very large tree may not be at its end; at first it may."""
        ...

    def continue_cascades(self, at: int) -> Awaitable[int]:
        """Terminate the next batch below every fenced root; returns how many are left at least."""
        ...

    def forget_keys(self, at: int) -> Awaitable[None]:
        """Forget idempotency keys that are older than a day."""
        ...

    def get(self, ref: Ref) -> Execution | None: ...

    def load(self, ref: Ref) -> Run | None: ...

    def input(self, ref: Ref) -> bytes: ...

    def steps(self, ref: Ref) -> list[StepRow]: ...

    def items(self, ref: Ref) -> list[ItemRow]: ...

    def termination(self, ref: Ref) -> Termination | None: ...

    def children(self, ref: Ref, *, after: int = 0, limit: int = 100) -> list[Execution]: ...

    def page(
        self,
        tenant: int,
        *,
        automations: Sequence[str] = (),
        states: Sequence[State] = (),
        before: int | None = None,
        limit: int = 25,
    ) -> list[Execution]:
        """Newest first, starting below the id `before`."""
        ...

    def latest(self, tenant: int, automation: str) -> Execution | None:
        """The newest run of a published version."""
        ...

    def due(self, at: int, limit: int, horizon: int = 0) -> list[tuple[Ref, int]]:
        """Runs of all tenants whose `wake_at` is at or before `at + horizon`, soonest first, at most `limit`."""
        ...

    def in_flight(self, limit: int) -> list[Execution]:
        """Runs of all tenants that stand in PROCESS_STEP or STOPPING, oldest first."""
        ...

    def greatest_id(self) -> int:
        """The greatest execution id ever stored, or 0."""
        ...


@dataclass(frozen=True, slots=True)
class AutomationRow:
    """An automation. `document` is the stored form of everything its owner can set, drafts included."""

    tenant: int
    id: str
    document: bytes
    version: int
    """The newest published version; 0 if none."""
    definition: int | None
    """The definition of that version."""
    created_at: int
    updated_at: int
    deleted_at: int | None = None


class Automations(Protocol):
    """Automations and their immutable definitions."""

    def create(self, row: AutomationRow, published: Definition | None, audit: AuditEntry) -> Awaitable[AutomationRow]:
        """Store a new automation and, if given, its first version (the definition's id is assigned here)."""
        ...

    def update(
        self, row: AutomationRow, published: Definition | None, audit: AuditEntry, *, read_at: int
    ) -> Awaitable[AutomationRow]:
        """Replace the document and, if given, publish a version.

        Raises:
            NotFound: unknown or deleted.
            Conflict: it was updated since `read_at`.
        """
        ...

    def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Mark as deleted; its runs go on. False: unknown or deleted already."""
        ...

    def draft(self, definition: Definition) -> Awaitable[Definition]:
        """Keep the present draft as a definition; the same draft is kept once."""
        ...

    def get(self, tenant: int, id: str) -> AutomationRow | None:
        """None for a deleted one too."""
        ...

    def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[AutomationRow]: ...

    def definition(self, tenant: int, id: int) -> Definition | None: ...

    def versions(self, tenant: int, automation: str, *, before: int | None = None, limit: int = 25) -> list[Definition]:
        """Published versions, newest first, starting below the version `before`."""
        ...


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """Where an outbound webhook goes. `callback_timeout` is seconds."""

    tenant: int
    id: str
    document: bytes
    url: str
    callback_timeout: int
    created_at: int
    updated_at: int


class Webhooks(Protocol):
    """Outbound webhooks, and the callbacks that are open."""

    def create(self, row: WebhookRow, audit: AuditEntry) -> Awaitable[None]: ...

    def update(self, row: WebhookRow, audit: AuditEntry) -> Awaitable[bool]: ...

    def delete(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]: ...

    def get(self, tenant: int, id: str) -> WebhookRow | None: ...

    def page(self, tenant: int, *, after: str | None = None, limit: int = 25) -> list[WebhookRow]: ...


class Role(StrEnum):
    """What a client may do."""

    SUPER_ADMIN = "super_admin"
    READ_ONLY = "read_only"


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant. `hosts` are the normalised names it answers to."""

    id: int
    name: str
    hosts: tuple[str, ...]
    created_at: int
    automations_disabled: bool = False
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client credential: only the public key is kept. `id` is fixed once made."""

    tenant: int
    id: str
    display_name: str
    public_key: bytes
    roles: tuple[Role, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An access token, found by its SHA-256; `client` is its client as it stands now."""

    digest: bytes
    client: ClientRow
    expires_at: int
    scope: tuple[Role, ...] = ()
    """What the token was narrowed to when it was asked for; empty if to nothing."""


class Access(Protocol):
    """Tenants, clients, tokens and used assertions."""

    revocations: int
    """Raised by each commit that revokes something: what was remembered of tokens before is void."""

    def tenants(self) -> list[TenantRow]: ...

    def tenant_of_host(self, host: str) -> TenantRow | None: ...

    def create_tenant(
        self, name: str, hosts: tuple[str, ...], at: int, audit: AuditEntry, *, first: ClientRow | None = None
    ) -> Awaitable[TenantRow]:
        """Make a tenant, and in the same commit its first client (whose `tenant` is filled in).

        Raises:
            AlreadyExists: the name or a host is taken.
        """
        ...

    def revoke_tenant(self, tenant: int, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Let it and its clients in no more, free its hosts, and switch its automations off; False if that was so."""
        ...

    def add_hosts(self, tenant: int, hosts: tuple[str, ...], at: int) -> Awaitable[None]:
        """Let a tenant answer to more names; those it has are passed over. Raises `AlreadyExists` as above."""
        ...

    def clients(self, tenant: int) -> list[ClientRow]: ...

    def client(self, tenant: int, id: str) -> ClientRow | None: ...

    def create_client(self, row: ClientRow, audit: AuditEntry) -> Awaitable[None]: ...

    def revoke_client(self, tenant: int, id: str, at: int, audit: AuditEntry) -> Awaitable[bool]:
        """Revoke the client and every token it holds."""
        ...

    def issue(
        self,
        tenant: int,
        client: str,
        digest: bytes,
        at: int,
        expires_at: int,
        assertion: bytes | None,
        audit: AuditEntry,
        *,
        scope: tuple[Role, ...] = (),
    ) -> Awaitable[bool]:
        """Store a token. `assertion` is the digest of the one that was presented: False if it was used before.

        Raises:
            TooManyRequests: so many assertions were used lately that no more can be remembered.
        """
        ...

    def token(self, tenant: int, digest: bytes) -> TokenRow | None: ...

    def setting(self, name: str) -> bytes | None:
        """A value that belongs to the installation, such as its id."""
        ...

    def keep_setting(self, name: str, value: bytes) -> Awaitable[bytes]:
        """Keep `value` unless there is one already; returns the one that stands."""
        ...


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the audit record as it is kept."""

    tenant: int
    id: int
    at: int
    entry: AuditEntry
    hash: bytes | None = None
    """SHA-256 over the hash before it and this row; None until sealed."""


class AuditLog(Protocol):
    """The audit record: appended to by the other stores, in the transaction of what it tells of."""

    def append(self, tenant: int, at: int, entry: AuditEntry) -> Awaitable[None]:
        """For what changes nothing else, such as a denial."""
        ...

    async def news(self) -> None:
        """Return once something was committed since the last call; at once the first time."""
        ...

    def look_again(self) -> None:
        """Let `news` return though nothing was committed."""
        ...

    def unsealed(self, limit: int) -> list[AuditRow]:
        """The oldest rows that are not sealed, at most `limit` of each tenant, in the order of their ids."""
        ...

    def head(self, tenant: int) -> tuple[int, bytes]:
        """(id, hash) of the newest sealed row; (0, 32 zero bytes) before the first."""
        ...

    def seal(self, tenant: int, seals: Sequence[tuple[int, bytes]]) -> Awaitable[None]:
        """Append (id, hash) to the chain."""
        ...

    def rows(self, tenant: int, *, after: int = 0, limit: int = 1000) -> list[AuditRow]: ...


class CommitListener(Protocol):
    """Told after each commit, before anybody who waits for that commit; interrupts before everything else."""

    def interrupt(self, ref: Ref, epoch: int) -> None: ...

    def ready(self, ref: Ref, at: int | None) -> None: ...


class ChangeListener(Protocol):
    """Told which runs a commit moved, after the commit listener and before anybody who waits for that commit."""

    def changed(self, tenant: int, id: int) -> None: ...


class Store(Protocol):
    """What is remembered."""

    @property
    def executions(self) -> Executions: ...

    @property
    def automations(self) -> Automations: ...

    @property
    def webhooks(self) -> Webhooks: ...

    @property
    def access(self) -> Access: ...

    @property
    def audit(self) -> AuditLog: ...

    def listen(self, listener: CommitListener) -> None: ...

    def follow(self, listener: ChangeListener) -> None: ...

    async def close(self) -> None: ...


# --- who carries runs on ----------------------------------------------------------------------------------------------


class Dispatcher(Protocol):
    """Finds somebody to carry a run on. Its calls are hints: they may be repeated or lost; the rows are the truth."""

    holder: str
    """Names this process, anew at each start."""

    def try_slot(self) -> bool:
        """Whether an attempt could start now; if so, a slot is reserved until `ready` names the run, or `free_slot`."""
        ...

    def ready(self, ref: Ref, at: int | None) -> None: ...

    def interrupt(self, ref: Ref, epoch: int) -> None: ...

    async def run(self) -> None: ...

    async def drain(self, grace: float) -> None:
        """Take on nothing new, and give what is in flight `grace` seconds. Not an interrupt."""
        ...


@dataclass(slots=True)
class Health:
    """Whether the process can serve; `reasons` says why not."""

    ready: bool = True
    reasons: dict[str, str] = field(default_factory=dict)
