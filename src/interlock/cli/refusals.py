"""What a server's refusal means to the person at the command line: what it is about, why, and what to do next."""

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
    """What a path is about, such as `execution 7`, and what to do if it is not there; empty if it is about a list."""
    for pattern, noun, command in _NAMED:
        match = pattern.match(path)
        if match is not None:
            return f"{noun} {unquote(match[1])}", f"See which there are: {command}"
    return "", ""


def about(what: str, why: str) -> str:
    """One sentence about what was asked for; a server may have named its kind already."""
    noun = what.rpartition(" ")[0]
    return f"{what}{why.removeprefix(noun)}" if noun and why.startswith(f"{noun} not found") else f"{what}: {why}"


def told(status: Mapping[str, Any]) -> str:
    """The reason in a google.rpc.Status: its message, and each field that was wrong with the complaint about it."""
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
    # A message that tells the same in its own order is not told twice.
    missing = [text for text in violations if text.rpartition(": ")[2] not in message]
    if not missing:
        return message
    return "\n  ".join([message or "the request was refused", *missing])


def token_refused(profile: Profile, status: int, headers: Mapping[str, str], reply: Mapping[str, Any]) -> Failure:
    """Why there is no token."""
    why = reply.get("error_description") or reply.get("message") or reply.get("error")
    code = Exit.AUTH if status in (400, 401, 403) else Exit.ERROR
    if why is None:
        hint = f"{profile.url} gave no answer of this API. Is it the right URL and port?"
        return Refused(f"no token from {profile.url}: it is no Interlock server", code, status, hint=hint, before=True)
    hint = ""
    if code is Exit.AUTH:
        hint = f"The client is {profile.client_id}. Make another: interlock clients create --role ROLE --save FILE"
    message = f"no token from {profile.url}: {why}"
    return Refused(message, code, status, hint=hint, retry_after=retry_after_seconds(headers), before=True)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header; None without one. A date, which depends on two clocks, is not read."""
    value = headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdigit()):
        return None
    return min(float(value[:9]), _MAX_RETRY_AFTER_SECONDS)
