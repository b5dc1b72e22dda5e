"""The columns of a table of executions."""

from interlock.cli.output import Column, instant, short_state

EXECUTION_COLUMNS: tuple[Column, ...] = (
    ("ID", lambda row: row.get("id")),
    ("STATE", lambda row: short_state(row.get("state"))),
    ("AUTOMATION", lambda row: row.get("automationDisplayName") or row.get("automationTemplateId")),
    ("VERSION", lambda row: "draft" if row.get("isDraft") else row.get("currentVersion")),
    ("STARTED", lambda row: instant(row.get("createdAt"))),
    ("ENDED", lambda row: instant(row.get("completedAt"))),
)
