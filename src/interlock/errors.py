"""The one tree of errors.

    InterlockError
    ├── Permanent            do not try again: the same request gives the same answer
    │   ├── InvalidArgument      what was sent cannot be read, or breaks a rule of its own
    │   │   └── PayloadTooLarge
    │   ├── FailedPrecondition   well formed, but not possible in the present state
    │   ├── AlreadyExists        a clash with something that was stored earlier
    │   ├── Conflict             the thing changed since the caller read it
    │   ├── NotFound
    │   ├── MethodNotAllowed
    │   ├── UnsupportedMediaType
    │   ├── Unauthenticated
    │   ├── PermissionDenied
    │   └── Unimplemented
    ├── Transient            try again later, unchanged
    │   ├── Unavailable          starting, draining, or the disk refuses writes: nothing was done
    │   │   └── CommitUnknown        the disk failed while it was asked to commit: it is not known whether it was done
    │   └── TooManyRequests      this caller, or this lane, has used its share
    └── Fatal                the process must stop: what is on disk can no longer be vouched for

Every error carries a stable `code`. `interlock.api.errors` is the one place that turns one into a wire error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a caller sent.

    `field` is a path in wire spelling, such as `automation.automationSteps[2].webhook.webhookId`.
    `line` and `column` (1-based) are set for expressions.
    """

    field: str
    description: str
    step: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = self.field
        if self.step is not None:
            where += f" (step {self.step!r})" if where else f"step {self.step!r}"
        if self.line is not None:
            where += f"{', ' if where else ''}line {self.line}, column {self.column}"
        return f"{where}: {self.description}" if where else self.description


class InterlockError(Exception):
    """Base of every error that Interlock raises on purpose.

    The first argument is the message shown to the caller; the class docstring's first line is the default.
    """

    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().split("\n", 1)[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


class Permanent(InterlockError):
    """Trying again does not help."""


class InvalidArgument(Permanent):
    """The request is not valid."""

    code = "INVALID_ARGUMENT"

    def __init__(self, message: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        if message is None and problems:
            message = "; ".join(str(problem) for problem in problems)
        super().__init__(message)
        self.problems = problems

    @classmethod
    def at(cls, field: str, description: str) -> InvalidArgument:
        return cls(problems=(Problem(field, description),))


class PayloadTooLarge(InvalidArgument):
    """The request body is too large."""

    code = "PAYLOAD_TOO_LARGE"


class FailedPrecondition(Permanent):
    """The request cannot be carried out in the present state."""

    code = "FAILED_PRECONDITION"

    def __init__(self, message: str | None = None, problems: tuple[Problem, ...] = ()) -> None:
        if message is None and problems:
            message = "; ".join(str(problem) for problem in problems)
        super().__init__(message)
        self.problems = problems


class AlreadyExists(Permanent):
    """The request clashes with one that was carried out earlier."""

    code = "ALREADY_EXISTS"


class Conflict(Permanent):
    """The resource changed since it was read."""

    code = "ABORTED"


class NotFound(Permanent):
    """not found"""

    code = "NOT_FOUND"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.is_named = message is not None
        """Whether the message says what was not found; if not, the API names the resource of the operation."""


class MethodNotAllowed(Permanent):
    """The path exists, but not with this method."""

    code = "METHOD_NOT_ALLOWED"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"method not allowed; this path takes {', '.join(allowed)}")
        self.allowed = allowed


class UnsupportedMediaType(Permanent):
    """The body must be application/json."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class Unauthenticated(Permanent):
    """A valid bearer token is required."""

    code = "UNAUTHENTICATED"

    def __init__(self, message: str | None = None, *, token_presented: bool = False) -> None:
        super().__init__(message)
        self.token_presented = token_presented


class PermissionDenied(Permanent):
    """The caller's role does not allow this."""

    code = "PERMISSION_DENIED"


class Unimplemented(Permanent):
    """This operation is not offered."""

    code = "UNIMPLEMENTED"


class Transient(InterlockError):
    """Try again later, unchanged."""

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Whole seconds after which a repetition makes sense; at least 1."""


class Unavailable(Transient):
    """The server cannot take this request now."""

    code = "UNAVAILABLE"


class CommitUnknown(Unavailable):
    """The disk failed while the change was being committed, so it is not known whether the change was made. Look before
    repeating a request that starts something; a termination, or a request with an Idempotency-Key, can be repeated."""

    code = "COMMIT_UNKNOWN"

    def __init__(self, message: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(message or " ".join((CommitUnknown.__doc__ or "").split()), retry_after=retry_after)


class TooManyRequests(Transient):
    """Too many requests."""

    code = "RESOURCE_EXHAUSTED"


class Fatal(InterlockError):
    """The store failed in a way that cannot be vouched for; the process must stop."""

    code = "FATAL"
