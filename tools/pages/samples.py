"""Samples for each operation, as they stand: ids and the like come from the environment, so that they can be run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from interlock.operations.executions.events import EVENT_STREAM
from interlock.operations.operation import Operation, Visibility

BODIES: Final[Mapping[str, Any]] = {
    "CreateAutomation": {
        "displayName": "Two-week wait",
        "enabled": True,
        "automationSteps": [{"stepName": "grace", "waitForDuration": {"duration": "1209600s"}}],
    },
    "UpdateAutomation": {"automation": {"displayName": "Two weeks"}, "updateMask": "displayName"},
    "ExecuteAutomation": {"context": {"context": {"employee": "E-1042"}}},
    "TerminateAutomation": {},
    "ClearAutomationCircuitBreaker": {
        "decision": "PAUSED_EXECUTION_DECISION_CANCEL",
        "reason": "the source sent every user twice",
    },
    "ResolvePausedAutomationExecutions": {"decision": "PAUSED_EXECUTION_DECISION_RUN"},
    "SearchAutomations": {"query": "wait", "pageSize": 25},
    "SearchAutomationTemplateVersions": {"automationTemplateId": "$AUTOMATION_ID"},
    "SearchAutomationExecutions": {
        "automationTemplateId": "$AUTOMATION_ID",
        "executionStepStates": ["AUTOMATION_EXECUTION_STATE_WAITING"],
    },
    "SearchAllAutomationExecutions": {"executionStates": ["AUTOMATION_EXECUTION_STATE_WAITING"]},
    "webhooks.Create": {"displayName": "Ticket desk", "url": "https://tickets.example/hook"},
    "webhooks.Update": {"webhook": {"displayName": "Ticket desk 2"}, "updateMask": "displayName"},
    "webhooks.Search": {"query": "ticket"},
    "interlock.PlanBulkTermination": {"filter": {"automationTemplateIds": ["$AUTOMATION_ID"], "olderThan": "0s"}},
    "interlock.CreateBulkTermination": {"filter": {"automationTemplateIds": ["$AUTOMATION_ID"]}, "reason": "a flood"},
    "interlock.CreateAddendum": {"step": "create_account", "finding": "HAPPENED", "note": "ticket 42 is there"},
    "interlock.UpdateSettings": {"payloadRetention": "2592000s"},
    "interlock.CreateClient": {"displayName": "CI", "roles": ["read_only"]},
    "interlock.CreateTenant": {"name": "acme", "hosts": ["acme.example"]},
}
"""By the short name of the operation; without one the body is left out."""

COMMANDS: Final[Mapping[str, str]] = {
    "ListAutomations": "interlock automations list",
    "CreateAutomation": """printf '%s' '{"displayName": "Fortnight", "automationSteps": [{"stepName": "grace", \
"waitForDuration": {"duration": "1209600s"}}]}' | interlock automations apply -""",
    "GetAutomation": 'interlock automations get "$AUTOMATION_ID"',
    "UpdateAutomation": """printf '{"id": "%s", "displayName": "Two weeks"}' "$AUTOMATION_ID" | \
interlock automations apply -""",
    "DeleteAutomation": 'interlock automations delete "$AUTOMATION_ID" --yes',
    "ExecuteAutomation": """interlock automations run "$AUTOMATION_ID" --context '{"employee": "E-1042"}'""",
    "ClearAutomationCircuitBreaker": 'interlock automations clear-breaker "$AUTOMATION_ID" --cancel --yes '
    '--reason "the source sent every user twice"',
    "ResolvePausedAutomationExecutions": 'interlock automations resolve-paused "$AUTOMATION_ID" --run',
    "SearchAutomations": "interlock automations list --query wait",
    "ListAutomationExecutions": "interlock executions list",
    "GetAutomationExecution": 'interlock executions get "$EXECUTION_ID"',
    "TerminateAutomation": 'interlock executions terminate "$EXECUTION_ID" --reason "wrong person"',
    "SearchAutomationExecutions": 'interlock executions list --automation "$AUTOMATION_ID" --state WAITING',
    "SearchAllAutomationExecutions": "interlock executions list --state WAITING",
    "interlock.FollowExecution": 'interlock executions watch "$EXECUTION_ID"',
    "interlock.RenewLease": 'interlock executions renew "$EXECUTION_ID"',
    "interlock.GetReceipt": 'interlock executions receipt "$EXECUTION_ID"',
    "interlock.CreateAddendum": 'interlock executions resolve "$EXECUTION_ID" --step create_account --happened '
    '--note "ticket 42 is there"',
    "interlock.PlanBulkTermination": 'interlock executions terminate --automation "$AUTOMATION_ID" --plan',
    "interlock.CreateBulkTermination": 'interlock executions terminate --automation "$AUTOMATION_ID" '
    '--reason "a flood" --yes --wait 30',
    "interlock.ListBulkTerminations": "interlock bulk-terminations list",
    "interlock.GetBulkTermination": 'interlock bulk-terminations watch "$BULK_TERMINATION_ID"',
    "interlock.AbortBulkTermination": 'interlock bulk-terminations abort "$BULK_TERMINATION_ID"',
    "interlock.ListAuditEvents": "interlock audit export",
    "interlock.VerifyAudit": "interlock audit verify",
    "interlock.GetSettings": "interlock settings get",
    "interlock.UpdateSettings": "interlock settings set --payload-retention 30 --yes",
    "interlock.ListClients": "interlock clients list",
    "interlock.CreateClient": "interlock clients create --role read_only --display-name CI",
    "interlock.RevokeClient": 'interlock clients revoke "$CLIENT_ID" --yes',
    "interlock.ListTenants": "interlock tenants list",
    "interlock.CreateTenant": "interlock tenants create acme --host acme.example",
    "interlock.RevokeTenant": 'interlock tenants revoke "$TENANT_NAME" --yes',
}

ONLY_IN_NEWER_SDKS: Final = frozenset(
    {"ClearAutomationCircuitBreaker", "ResolvePausedAutomationExecutions", "SearchAllAutomationExecutions"}
)
"""What the published Python SDK does not have."""

_VARIABLES: Final = {
    "executions": "EXECUTION_ID",
    "automations": "AUTOMATION_ID",
    "webhooks": "WEBHOOK_ID",
    "bulkTerminations": "BULK_TERMINATION_ID",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One way to call an operation."""

    language: str
    """As a fence of Markdown names it."""
    label: str
    source: str


def short_name(operation: Operation) -> str:
    """`TerminateAutomation`, `webhooks.Create`, `interlock.GetReceipt`."""
    last = operation.id.rpartition(".")[2]
    if operation.visibility is Visibility.OWN:
        return f"interlock.{last}"
    return f"webhooks.{last}" if ".webhooks." in operation.id else last


def samples(operation: Operation) -> list[Sample]:
    """All of them; without those that no client has."""
    if operation.permission is None:
        return []
    name = short_name(operation)
    found = [
        Sample("bash", "curl", _curl(operation, name)),
        Sample("python", "Python", _formatted(_python(operation, name))),
    ]
    if "." not in name:
        found += [Sample("typescript", "TypeScript (SDK)", _typescript(operation, name))]
        found += [Sample("go", "Go (SDK)", _go(operation, name))]
    if name in COMMANDS:
        found.append(Sample("bash", "Interlock's command line", COMMANDS[name]))
    return found


def variables(operation: Operation) -> dict[str, str]:
    """Path parameter → the environment variable that a sample takes it from."""
    found = {}
    for parameter in re.findall(r"{(\w+)}", operation.path):
        if parameter == "name":
            found[parameter] = "TENANT_NAME"
        elif "/clients/" in operation.path:
            found[parameter] = "CLIENT_ID"
        else:
            resource = next(r for r in _VARIABLES if f"{r}/" in operation.path)
            found[parameter] = _VARIABLES[resource]
    return found


def _curl(operation: Operation, name: str) -> str:
    path = operation.path
    for parameter, variable in variables(operation).items():
        # A client's id has a slash in it.
        path = path.replace(f"{{{parameter}}}", "${CLIENT_ID//\\//%2F}" if variable == "CLIENT_ID" else f"${variable}")
    method = f" -X {operation.method}" if operation.method != "GET" else ""
    lines = [f'curl -sS --fail-with-body{method} "$CONDUCTORONE_SERVER_URL{path}"']
    lines.append('  -H "Authorization: Bearer $(interlock token)"')
    body = BODIES.get(name)
    if body is not None:
        text = json.dumps(body).replace('"$AUTOMATION_ID"', '"\'"$AUTOMATION_ID"\'"')
        lines += ["  -H 'Content-Type: application/json'", f"  -d '{text}'"]
    return " \\\n".join(lines)


def _python(operation: Operation, name: str) -> str:
    if "." in name or name in ONLY_IN_NEWER_SDKS:
        return _python_plain(operation, name)
    group, method = (_snake(part) for part in _service_and_method(operation))
    members = [
        f'"{parameter}": {_python_id(operation, variable)}' for parameter, variable in variables(operation).items()
    ]
    body = BODIES.get(name)
    if body:
        text = _python_literal(_snake_keys(body))
        if members:
            members.append(f'"{_snake(name)}_request": {text}')
            request = f"request={{{', '.join(members)}}}"
        else:
            request = f"request={text}"
    else:
        request = f"request={{{', '.join(members)}}}" if members else ""
    return f"""\
import os
import subprocess

from conductorone_sdk import SDK
from conductorone_sdk.models import shared

token = subprocess.check_output(["interlock", "token"], text=True).strip()
sdk = SDK(
    server_url=os.environ["CONDUCTORONE_SERVER_URL"],
    security=shared.Security(bearer_auth=token, oauth=token),
)
reply = sdk.{group}.{method}({request})
print(reply)"""


def _python_plain(operation: Operation, name: str) -> str:
    path = operation.path
    for parameter, variable in variables(operation).items():
        quoted = f'quote(os.environ["{variable}"], safe="")'
        path = path.replace(f"{{{parameter}}}", f"{{{quoted}}}")
    needs_quote = "from urllib.parse import quote\n" if "quote(" in path else ""
    literal = "f" if "quote(" in path else ""
    quote = "'" if needs_quote else '"'
    body = BODIES.get(name)
    data = f", json.dumps({_python_literal(body)}).encode()" if body is not None else ""
    content = ', "Content-Type": "application/json"' if body is not None else ""
    streams = EVENT_STREAM in operation.documents
    reading = "for line in reply:\n        print(line.decode().rstrip())" if streams else "print(json.load(reply))"
    return f"""\
import json
import os
import subprocess
{needs_quote}from urllib.request import Request, urlopen

token = subprocess.check_output(["interlock", "token"], text=True).strip()
path = {literal}{quote}{path}{quote}
headers = {{"Authorization": f"Bearer {{token}}"{content}}}
request = Request(os.environ["CONDUCTORONE_SERVER_URL"] + path{data}, headers=headers, method="{operation.method}")
with urlopen(request) as reply:
    {reading}"""


def _typescript(operation: Operation, name: str) -> str:
    service, method = _service_and_method(operation)
    members = [
        f"{parameter}: " + (f"Number(process.env.{variable})" if _numbered(operation) else f"process.env.{variable}!")
        for parameter, variable in variables(operation).items()
    ]
    body = BODIES.get(name)
    if body:
        text = json.dumps(body).replace('"$AUTOMATION_ID"', "process.env.AUTOMATION_ID!")
        request = f"{{ {', '.join(members)}, {_lower(name)}Request: {text} }}" if members else text
    else:
        request = f"{{ {', '.join(members)} }}" if members else ""
    return f"""\
import {{ ConductoroneSDKTypescript }} from "conductorone-sdk-typescript";

const sdk = new ConductoroneSDKTypescript({{
  serverURL: process.env.CONDUCTORONE_SERVER_URL,
  clientID: process.env.CONDUCTORONE_CLIENT_ID,
  clientSecret: process.env.CONDUCTORONE_CLIENT_SECRET,
}});
console.log(await sdk.{_lower(service)}.{_lower(method)}({request}));"""


def _go(operation: Operation, name: str) -> str:
    service, method = _service_and_method(operation)
    named = variables(operation)
    if named:
        kind = f"operations.{_go_name(operation)}Request"
        if _numbered(operation):
            head = '    id, err := strconv.ParseInt(os.Getenv("EXECUTION_ID"), 10, 64)\n    if err != nil {\n'
            head += "        log.Fatal(err)\n    }\n"
            argument, packages = f", {kind}{{ID: id}}", '    "strconv"\n'
        else:
            head, packages = "", ""
            argument = f', {kind}{{ID: os.Getenv("AUTOMATION_ID")}}'
        imports = '    "github.com/conductorone/conductorone-sdk-go/pkg/models/operations"\n'
    else:
        head = packages = imports = ""
        argument = f", &shared.{name}Request{{}}" if operation.request is not None else ""
    return f"""\
package main

import (
    "context"
    "log"
    "os"
{packages}
    conductoronesdkgo "github.com/conductorone/conductorone-sdk-go"
{imports}    "github.com/conductorone/conductorone-sdk-go/pkg/models/shared"
)

func main() {{
{head}    token := os.Getenv("TOKEN")
    sdk := conductoronesdkgo.New(
        conductoronesdkgo.WithServerURL(os.Getenv("CONDUCTORONE_SERVER_URL")),
        conductoronesdkgo.WithSecurity(shared.Security{{BearerAuth: token, Oauth: token}}),
    )
    reply, failure := sdk.{service}.{method}(context.Background(){argument})
    if failure != nil {{
        log.Fatal(failure)
    }}
    log.Println(reply.StatusCode)
}}"""


@cache
def _formatted(source: str) -> str:
    """As the formatter of this project would have it, which looks into the pages too."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--stdin-filename",
        str(Path(__file__).with_name("sample.py")),
        "-",
    ]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def _service_and_method(operation: Operation) -> tuple[str, str]:
    service, method = operation.id.split(".")[-2:]
    return service.removesuffix("Service"), method


def _go_name(operation: Operation) -> str:
    parts = operation.id.split(".")
    return "C1APIAutomationsV1" + "".join(parts[-2:])


def _numbered(operation: Operation) -> bool:
    return any(parameter.int64 for parameter in operation.parameters)


def _python_id(operation: Operation, variable: str) -> str:
    text = f'os.environ["{variable}"]'
    return f"int({text})" if _numbered(operation) else text


def _python_literal(tree: Any) -> str:
    return repr(tree).replace("'$AUTOMATION_ID'", 'os.environ["AUTOMATION_ID"]').replace("'", '"')


def _snake_keys(tree: Any, *, within_context: bool = False) -> Any:
    """As the Python SDK spells members; what is inside a context is the caller's own."""
    if isinstance(tree, dict):
        return {
            key if within_context else _snake(key): _snake_keys(
                value, within_context=within_context or key == "context"
            )
            for key, value in tree.items()
        }
    return [_snake_keys(item) for item in tree] if isinstance(tree, list) else tree


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
