"""Explain a server's refusal to the user: its subject, its reason, and what to do next."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from interlock.cli.failures import Exit, Failure, Refused
from interlock.cli.profile import Profile

EXITS = {401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.NOT_FOUND, 504: Exit.TIMEOUT}

_NAMED = (
    (re.compile(r"/api/v1/automation_executions/([^/?]+)"), "execution", "interlock executions list"),
    (re.compile(r"/interlock/v1/executions/([^/?]+)"), "execution", "interlock executions list"),
    (re.compile(r"/api/v1/automations/([^/?]+)"), "automation", "interlock automations list"),
    (
        re.compile(r"/interlock/v1/bulkTerminations/(?!plan)([^/?]+)"),
        "bulk termination",
        "interlock bulk-terminations list",
    ),
    (re.compile(r"/interlock/v1/clients/([^/?]+)"), "client", "interlock clients list"),
    (re.compile(r"/interlock/v1/tenants/([^/?]+)"), "tenant", "interlock tenants list"),
)
_MAX_RETRY_AFTER_SECONDS = 86_400.0


def named(path: str) -> tuple[str, str]:
    """Return the resource of a path, such as `execution 7`, and a hint if it is not found; empty for a list."""
    for pattern, noun, command in _NAMED:
        match = pattern.match(path)
        if match is not None:
            return f"{noun} {unquote(match[1])}", f"List them: {command}"
    return "", ""


def about(what: str, why: str) -> str:
    """Return a sentence about a resource; the server's reason may already name its type."""
    noun = what.rpartition(" ")[0]
    return f"{what}{why.removeprefix(noun)}" if noun and why.startswith(f"{noun} not found") else f"{what}: {why}"


def told(status: Mapping[str, Any]) -> str:
    """Return the message of a google.rpc.Status, and each wrong field with its description."""
    message = str(status.get("message") or "")
    details = status.get("details")
    violations: list[str] = []
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        for member, name in (("fieldViolations", "field"), ("violations", "subject")):
            found = detail.get(member)
            violations += [
                f"{each.get(name) or 'the request'}: {each.get('description') or 'is wrong'}"
                for each in (found if isinstance(found, list) else ())
                if isinstance(each, dict)
            ]
    # Do not repeat a description that the message contains.
    missing = [text for text in violations if text.rpartition(": ")[2] not in message]
    if not missing:
        return message
    return "\n  ".join([message or "the request was refused", *missing])


def token_refused(profile: Profile, status: int, headers: Mapping[str, str], reply: Mapping[str, Any]) -> Failure:
    """Return the failure for a refused token request."""
    why = reply.get("error_description") or reply.get("message") or reply.get("error")
    code = Exit.AUTH if status in (400, 401, 403) else Exit.ERROR
    if why is None:
        hint = f"The answer of {profile.url} is not from this API. Check the URL and the port."
        return Refused(
            f"no token from {profile.url}: it is not an Interlock server", code, status, hint=hint, before=True
        )
    hint = ""
    if code is Exit.AUTH:
        hint = f"The client is {profile.client_id}. Create another: interlock clients create --role ROLE --save FILE"
    message = f"no token from {profile.url}: {why}"
    return Refused(message, code, status, hint=hint, retry_after=retry_after_seconds(headers), before=True)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header; None without one, or for a date, which depends on two clocks."""
    value = headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdigit()):
        return None
    return min(float(value[:9]), _MAX_RETRY_AFTER_SECONDS)
