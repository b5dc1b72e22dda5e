"""What single operations of the contract cost the server: an automation of ten steps, and pages of a hundred runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.client import closed, request
from benchmarks.processes import running
from benchmarks.report import Figure, Section, Target, at_most, milliseconds
from benchmarks.scale import Setting
from benchmarks.subject import Subject

TEXT = (
    "CPU of the server's process for each, asked by eight clients. The pages are of one automation among several and "
    "of some states, over as many executions as stand in the line; half of them wait and the others are terminated. A "
    "page walks along an index: what it costs does not depend on how many there are."
)
STEPS = 10
CONNECTIONS = 8


async def measure(setting: Setting) -> Section:
    scale, base = setting.scale, setting.baselines
    subject = Subject(setting.directory / "contract")
    section = Section("Operations", TEXT)
    with running(subject.process):
        await subject.log_in()
        section.figures += await _creating(subject, scale.operations, base.cpu)
        automations = [await subject.long_wait() for _ in range(3)]
        count = scale.many // len(automations)
        for automation in automations:
            ids, _ = await subject.start_many(automation, count)
            (await closed(subject.address, [subject.terminate(each) for each in ids[::2]])).expect()
        filters = {
            "all": {},
            "of an automation": {"automationTemplateIds": automations[:1]},
            "of an automation, in two states": {
                "automationTemplateIds": automations[:1],
                "executionStates": [
                    "AUTOMATION_EXECUTION_STATE_WAITING",
                    "AUTOMATION_EXECUTION_STATE_TERMINATE",
                ],
            },
            "in a state that none is in": {"executionStates": ["AUTOMATION_EXECUTION_STATE_ERROR"]},
        }
        for name, body in filters.items():
            wire = request(
                "POST",
                "/api/v1/search/all_automation_executions",
                json.dumps({**body, "pageSize": 100}).encode(),
                headers=subject.headers(),
            )
            cpu = await _cpu_of(subject, [wire] * scale.operations)
            label = f"page of 100 of {count * len(automations):,}, {name}"
            section.figures.append(_figure(label, cpu, base.cpu, at_most(cpu, 0.003, "3 ms")))
    return section


def _creation(subject: Subject, mark: str) -> bytes:
    """An automation of ten steps with an expression each; another `mark` makes them other expressions."""
    steps = [
        {
            "stepName": f"step_{number}",
            "stepDisplayName": f"Step {number}",
            "evaluateExpressions": {
                "expressions": [
                    {"key": "greeting", "expressionCel": f'"Hello {mark} {number} " + ctx.trigger.employee'}
                ]
            },
        }
        for number in range(STEPS)
    ]
    body = json.dumps({"displayName": "Ten steps", "enabled": True, "automationSteps": steps}).encode()
    return request("POST", "/api/v1/automations", body, headers=subject.headers())


async def _creating(subject: Subject, count: int, base: float) -> list[Figure]:
    label = f"create an automation of {STEPS} steps with {STEPS} expressions, published"
    again = await _cpu_of(subject, [_creation(subject, "")] * count)
    new = await _cpu_of(subject, [_creation(subject, str(number)) for number in range(count)])
    return [
        _figure(f"{label}; seen before", again, base, at_most(again, 0.001, "1 ms")),
        _figure(f"{label}; never seen", new, base),
    ]


async def _cpu_of(subject: Subject, wires: Sequence[bytes]) -> float:
    await closed(subject.address, wires[:20], connections=CONNECTIONS)
    cpu = subject.process.cpu()
    (await closed(subject.address, wires, connections=CONNECTIONS)).expect()
    return (subject.process.cpu() - cpu) / len(wires)


def _figure(label: str, cpu: float, base: float, target: Target | None = None) -> Figure:
    return Figure(
        label, f"{milliseconds(cpu)} CPU", f"bare ASGI request {milliseconds(base)}", f"{cpu / base:.0f}", target
    )
