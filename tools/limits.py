"""Writes the page of the limits: each with its value, read from the constant that enforces it.

    python -m tools.limits

A test looks at whether the page is up to date, and whether every constant of the source whose name begins with `MAX_`
stands on it or is named in `INTERNAL`, for it limits nothing that comes from outside.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "src" / "interlock"
PAGE: Final = ROOT / "docs" / "limits.md"
SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """One row: the constant as `module:NAME` below `interlock`, what it limits, in which unit, and what lies beyond."""

    constant: str
    what: str
    unit: str
    beyond: str

    def row(self) -> str:
        module, _, name = self.constant.partition(":")
        value = getattr(importlib.import_module(f"interlock.{module}"), name)
        return f"| {self.what} | {_shown(value, self.unit)} | {self.beyond} | `{module}.{name}` |"


def _shown(value: object, unit: str) -> str:
    if isinstance(value, timedelta):
        return f"{value.days:,} days"
    assert isinstance(value, int | float)
    if unit == "microseconds":
        value, unit = value / SECOND, "s"
    if unit == "bytes":
        for size, name in ((2**20, "MiB"), (2**10, "KiB")):
            if value >= size and value % size == 0:
                return f"{value // size:,} {name}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,} {unit}".rstrip()


SECTIONS: Final = {
    "Requests": (
        Limit("api.idle_connections:MAX_CALLER_CONNECTIONS", "connections", "", "those idle for longest are closed"),
        Limit("api.connection:MAX_TARGET_BYTES", "target of a request", "bytes", "414 or 431"),
        Limit("api.connection:MAX_HEAD_BYTES", "head of a request", "bytes", "431"),
        Limit("api.connection:MAX_HEADER_FIELDS", "header fields, and trailer fields", "", "431"),
        Limit("api.routing:MAX_PATH_CHARACTERS", "path", "characters", "404"),
        Limit("auth.tenants:MAX_HOST_CHARACTERS", "Host", "characters", "400"),
        Limit("operations.preferences:MAX_PREFER_CHARACTERS", "Prefer", "characters", "the header is ignored"),
        Limit("operations.preferences:MAX_WAIT_SECONDS", "`Prefer: wait`", "s", "the answer says how far it is"),
        Limit("api.bodies:MAX_QUERY_PARAMETERS", "query parameters", "", "400"),
        Limit("api.lanes:MAX_WAITING_REQUESTS", "requests of one lane that wait", "", "429 or 503"),
        Limit("api.lanes:MAX_BUFFERED_BYTES", "large bodies that wait, together", "bytes", "503"),
        Limit("operations.paging:MAX_FILTER_IDS", "ids that a filter names", "", "400"),
        Limit("operations.paging:MAX_PAGE_ROWS", "rows of a page", "", "the page has as many; follow its token"),
        Limit(
            "operations.paging:MAX_PAGE_BYTES", "rows of a page, together", "bytes", "the page ends; follow its token"
        ),
        Limit("operations.executions.events:MAX_STREAMS", "streams of events", "", "429"),
        Limit(
            "operations.executions.events:MAX_STREAM_LIFETIME",
            "life of a stream",
            "microseconds",
            "the client asks again",
        ),
        Limit("auth.form:MAX_BODY", "body of a token request", "bytes", "413"),
        Limit("auth.form:MAX_ASSERTION", "client assertion", "characters", "400"),
        Limit("auth.failures:MOST", "failures of an address in a minute", "", "a failure is held back, then 429"),
        Limit("auth.token_endpoint:FAILURE_DELAY", "delay of a failure beyond that", "microseconds", ""),
        Limit("auth.credentials:MAX_SECRET", "client secret that is presented", "characters", "401"),
        Limit("operations.access.handlers:MAX_CLIENT_APPS", "apps of a client", "", "400"),
        Limit("operations.access.handlers:MAX_TENANT_HOSTS", "hosts of a tenant", "", "400"),
        Limit("operations.webhooks.callbacks:MAX_CALLBACK_BYTES", "body of a callback", "bytes", "413"),
    ),
    "Command line": (
        Limit("cli.diagnosis:CHECK_SECONDS", "quick check of a database by `doctor`", "s", "a warning"),
        Limit("cli.documents:MAX_DOCUMENT_BYTES", "file or stdin that is read", "bytes", "exit code 2"),
        Limit(
            "cli.listening:MAX_PROBE_BYTES", "answer of a service that `doctor` reads", "bytes", "the rest is not read"
        ),
        Limit("cli.listening:PROBE_SECONDS", "time for that answer", "s", "a problem"),
        Limit("cli.profile:MAX_PROFILE_BYTES", "profile that is read", "bytes", "exit code 4"),
        Limit("secrets.keys:MAX_KEY_FILE_BYTES", "key file of the secrets", "bytes", "the server does not start"),
        Limit("cli.retrying:RETRY_SECONDS", "time for which a busy server is asked again", "s", "exit code 1"),
        Limit("cli.retrying:STOP_RETRY_SECONDS", "the same for a terminate, through restarts", "s", "exit code 1"),
    ),
    "Answers that are not read": (
        Limit(
            "api.connection:WRITE_TIMEOUT_SECONDS",
            "time that an answer is left unread",
            "s",
            "the connection is aborted",
        ),
        Limit("api.connection:MAX_UNREAD_BYTES", "unread bytes of a connection", "bytes", "nothing more is written"),
        Limit("api.connection:MAX_STALLED", "connections with unread answers", "", "the longest is aborted"),
        Limit("api.sending:MAX_UNSENT_BYTES", "unsent bytes of large answers", "bytes", "the oldest is aborted"),
        Limit(
            "api.large_heads:MAX_LARGE_HEADS_BYTES",
            "large request heads that are held",
            "bytes",
            "the connection of the oldest is aborted",
        ),
        Limit("api.connection:MAX_HELD_BYTES", "pipelined requests that are held", "bytes", "reading pauses"),
    ),
    "JSON from everywhere": (
        Limit("contract.guard:MAX_DEPTH", "levels of nesting", "", "400, or the answer is kept as text"),
        Limit("contract.guard:MAX_MEMBERS", "items and members of a document", "", "the same"),
        Limit("contract.parse:MAX_ITEMS", "items of lists and maps that the contract names", "", "400"),
        Limit("steps.documents:MAX_MADE_DEPTH", "levels of nesting of what a run makes", "", "the step fails"),
        Limit("steps.documents:MAX_MADE_MEMBERS", "items and members of what a run makes", "", "the step fails"),
    ),
    "Automations": (
        Limit("operations.automations.publish:MAX_STEPS", "steps", "", "400"),
        Limit("operations.automations.annotations:MAX_ANNOTATIONS", "annotations", "", "400"),
        Limit("operations.automations.annotations:MAX_ANNOTATION_BYTES", "annotations together", "bytes", "400"),
        Limit("operations.automations.annotations:MAX_VALUE_CHARACTERS", "value of an annotation", "characters", "400"),
        Limit("operations.webhooks.handlers:MAX_URL_CHARACTERS", "URL of a webhook", "characters", "400"),
        Limit("operations.webhooks.handlers:MAX_CALLBACK_SECONDS", "callback timeout", "s", "400"),
        Limit("steps.wait_for_duration:MAX_WAIT_DURATION", "waitForDuration", "", "400"),
        Limit("engine.reports:MIN_POLL_INTERVAL_SECONDS", "time between two polls, at least", "s", "the poll is later"),
        Limit("engine.polls:MAX_POLL_SECONDS", "time of a poll", "s", "it is cut, and repeated later"),
        Limit("engine.reports:MAX_POLL_WAIT_SECONDS", "time for which a receiver is polled", "s", "the step fails"),
        Limit("engine.reports:MAX_POLL_HANDLE_BYTES", "handle of a poll", "bytes", "the step fails"),
    ),
    "Expressions": (
        Limit("expressions.limits:MAX_SOURCE", "source of an expression", "bytes", "400"),
        Limit("expressions.limits:MAX_AUTOMATION_EXPRESSIONS", "expressions of all steps", "", "400"),
        Limit("expressions.limits:MAX_AUTOMATION_SOURCE", "sources of all steps together", "characters", "400"),
        Limit("expressions.holes:MAX_HOLE", "`{{ }}` with the spaces in it", "characters", "400"),
        Limit("expressions.limits:COMPILE_CPU_SECONDS", "CPU time of compiling an expression", "s", "400"),
        Limit("expressions.limits:MAX_TEMPLATE_EXPRESSIONS", "expressions of a template", "", "400"),
        Limit("expressions.limits:MAX_PATTERN", "regular expression", "bytes", "400"),
        Limit("expressions.limits:MAX_LOOPS", "macros of an expression", "", "400"),
        Limit("expressions.limits:MAX_NESTING", "nesting of macros", "", "400"),
        Limit("expressions.limits:MAX_INPUT", "what an expression reads", "bytes", "the step fails"),
        Limit("expressions.limits:MAX_RESULT", "result", "bytes", "the step fails"),
        Limit("expressions.limits:MAX_DEPTH", "nesting of a result", "", "the step fails"),
        Limit("expressions.limits:EVALUATION_CPU_SECONDS", "CPU time of an evaluation", "s", "the step fails"),
        Limit("expressions.limits:EVALUATOR_MEMORY_BYTES", "memory of an evaluator", "bytes", "the step fails"),
    ),
    "Runs": (
        Limit("system:MAX_BYTES_A_TURN", "data of runs that a turn of the loop begins work on", "bytes", "it waits"),
        Limit("steps.webhook:MAX_PAYLOAD", "payload of a webhook", "bytes", "the step fails"),
        Limit("steps.attempt:MAX_STEP_ITEMS", "items of a step", "", "the step fails"),
        Limit("steps.documents:MAX_OUTPUT", "output of a step", "bytes", "the step fails"),
        Limit("engine.suspects:MAX_LOSSES", "crashes of the server during one run", "", "the run ends in ERROR"),
        Limit("engine.dispatchers.embedded:MAX_CRASHES", "defects in advancing a run", "", "the run ends in ERROR"),
        Limit("store.sqlite.addenda:MOST", "addenda of a run", "", "400"),
        Limit("contract.executions:REASON_LIMIT", "reason of a termination", "bytes", "400"),
        Limit("contract.executions:DEADLINE_LIMIT", "deadline of a termination", "s", "400"),
        Limit("operations.bulk_terminations.narrowing:MAX_BULK_EXECUTIONS", "runs of a bulk termination", "", "400"),
        Limit(
            "operations.bulk_terminations.narrowing:MAX_FILTER_TIME",
            "time for evaluating a filter",
            "microseconds",
            "400",
        ),
    ),
    "Answers of remotes": (
        Limit("net.answers:MAX_HEAD_BYTES", "head, interim responses included", "bytes", "the connection is reset"),
        Limit("net.answers:MAX_INTERIM_RESPONSES", "interim responses (1xx)", "", "the same"),
        Limit("net.answers:MAX_FRAMING_BYTES", "framing of a chunked body", "bytes", "the same"),
        Limit("net.answers:MAX_CHUNK_LINE_BYTES", "line of a chunk's size", "bytes", "the same"),
        Limit("net.codings:MAX_GZIP_MEMBERS", "members of a gzip body", "", "the body is kept as it came"),
        Limit("net.connections:MAX_HANDSHAKE_BYTES", "TLS handshake", "bytes", "the connection is reset"),
        Limit("net.names:MAX_ADDRESSES", "addresses of a name", "", "the name is not called"),
        Limit("steps.webhook:MAX_RESPONSE", "body of an answer", "bytes", "the attempt fails; its status is kept"),
        Limit("steps.webhook:ATTEMPT_SECONDS", "time of an attempt, from when it is sent", "s", "the attempt fails"),
    ),
}
"""Every limit that a caller, a remote or an operator can meet, by where it is met."""

INTERNAL: Final = frozenset(
    {
        "api.connection:MAX_DISCARDED_BYTES",
        "api.connection:MAX_PARSED_BYTES",
        "assembly.background:MAX_LOOP_LAG",
        "auth.assertion:MAX_AGE",
        "auth.assertion:MAX_AHEAD",
        "auth.form:MAX_PARAMETERS",
        "auth.token_endpoint:MAX_HELD_FAILURES",
        "contract.guard:MAX_PROBLEMS",
        "engine.dispatchers.recovery:MAX_OPENING_MICROSECONDS",
        "engine.dispatchers.recovery:MAX_IDLE_RECOVERY_ROUNDS",
        "engine.supervisor:MAX_PAUSE_MICROSECONDS",
        "expressions.limits:MAX_AHEAD_EXPRESSIONS",
        "expressions.analysis:MAX_KNOWN_SOURCE",
        "expressions.exactness:MAX_EXACT_TRIES",
        "expressions.limits:MAX_ANALYSES_AT_ONCE",
        "expressions.limits:MAX_ANSWER_BYTES",
        "expressions.limits:MAX_SELECTED_STRUCTURES",
        "expressions.limits:MAX_BATCH_BYTES",
        "expressions.limits:MAX_BATCH_JOBS",
        "expressions.limits:MAX_EVALUATOR_GROWTH_BYTES",
        "expressions.limits:MAX_FRESH_GROWTH_BYTES",
        "expressions.limits:MAX_EVALUATOR_JOBS",
        "expressions.limits:MAX_EVALUATOR_SOURCE",
        "expressions.limits:MAX_KILLS",
        "expressions.limits:MAX_LAYOUT",
        "expressions.limits:MAX_READ_WEIGHT",
        "expressions.limits:MAX_SELECTED_TEXT",
        "expressions.limits:MAX_SELECTED_WEIGHT",
        "expressions.limits:MAX_TRIES",
        "net.connections:MAX_SLICE_BYTES",
        "net.connections:MAX_TLS_OVERHEAD",
        "net.connections:MAX_UNSENT_BYTES",
        "net.http:MAX_ADDRESS_SECONDS",
        "net.http:MAX_CONNECTIONS",
        "net.http:MAX_IDLE_CONNECTIONS",
        "net.http:MAX_IDLE_PER_ORIGIN",
        "net.http:MAX_KNOWN_TARGETS",
        "operations.bulk_terminations.handlers:MAX_EXECUTIONS_SHOWN",
        "operations.executions.detail:MAX_CHILDREN_SHOWN",
        "operations.paging:MAX_PAGE_TOKEN_CHARACTERS",
        "operations.settings.handlers:MAX_RETENTION",
        "operations.access.handlers:MAX_DISPLAY_NAME_CHARACTERS",
        "operations.automations.handlers:MAX_UPDATE_TRIES",
        "contract.guard:MAX_STORED_DEPTH",
        "contract.guard:MAX_STORED_MEMBERS",
        "operations.paging:MAX_SLICE_BYTES",
        "operations.executions.receipt_markdown:MAX_ANSWER_CHARACTERS",
        "store.marks:MAX_MARKED_RUNS",
        "store.sqlite.kept:MAX_KEPT_DOCUMENT_BYTES",
        "store.sqlite.kept:MAX_KEPT_ROWS",
        "store.sqlite.refusals:MAX_COUNTED_ACTIONS",
        "store.sqlite.refusals:MAX_COUNTED_CALLERS",
    }
)
"""Sizes of slices, caches and batches, and what a reader of the page would not look for."""


def constants() -> Iterator[str]:
    """Every constant of the source whose name begins with `MAX_`, as `module:NAME`."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            name = node.target if isinstance(node, ast.AnnAssign) else None
            if isinstance(name, ast.Name) and name.id.startswith("MAX_"):
                yield f"{module}:{name.id}"


def page() -> str:
    """The whole page."""
    head = [
        "# Limits",
        "",
        "Each limit is enforced where the input comes in, so that no input can keep the server from a termination.",
        "Made by `python -m tools.limits` from the constants named in the last column.",
    ]
    for title, limits in SECTIONS.items():
        head += ["", f"## {title}", "", "| limit | value | beyond it | constant |", "|---|---|---|---|"]
        head += [limit.row() for limit in limits]
    return "\n".join([*head, ""])


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
