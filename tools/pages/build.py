"""The documentation pages as text: one for each operation, the guides of docs/, and the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml
from markdown_it import MarkdownIt

from interlock.api.openapi import document
from interlock.operations.operation import Operation, Visibility
from interlock.operations.table import OPERATIONS
from tools.openapi import Dumper
from tools.pages.samples import samples, short_name
from tools.states import STOP

NAME: Final = "Interlock"
ROOT: Final = Path(__file__).resolve().parent.parent.parent
DOCS: Final = ROOT / "docs"
PAGES: Final = ROOT / "src" / "interlock" / "api" / "pages"

INDEX_NOTE: Final = "> Index of all pages: [/docs/llms.txt](/docs/llms.txt)\n\n"
FIRST: Final = (
    "quickstart",
    "stopping",
    "expressions",
    "webhooks",
    "circuit-breaker",
    "access",
    "operating",
    "glossary",
)
"""The first guides of the index, in this order; the others follow."""
CAUSES: Final = {
    "400": "Correct the fields that `details` names; an answer reports all problems of a body. Code 9: the current "
    "state does not allow the request, and the message says why.",
    "401": "Request a new token with `POST /auth/v1/token`; it is valid for an hour.",
    "403": "Use a client whose role allows it; the message names the permission.",
    "404": "Check the id. Resources of another tenant are not found either.",
    "409": "Code 6: use a new key or name. Code 10: read the resource again and repeat the change.",
    "413": "Send a smaller body.",
    "415": "Send `Content-Type: application/json`, not compressed.",
    "429": "Retry after the seconds in `Retry-After`.",
    "503": "Retry after the seconds in `Retry-After`. With code 14 nothing was changed; with code 2 read the "
    "resource first.",
}
STYLE: Final = (
    "body{font:16px/1.55 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2024;"
    "background:#fff}code,pre{font:14px/1.5 ui-monospace,monospace;background:#f2f4f6;border-radius:4px}"
    "code{padding:.1em .3em}pre{padding:.8rem;overflow:auto}pre code{padding:0}table{border-collapse:collapse;"
    "display:block;overflow-x:auto}td,th{border:1px solid #d5dade;padding:.35rem .6rem;text-align:left;"
    "vertical-align:top}blockquote{margin:0;padding-left:1rem;border-left:3px solid #d5dade;color:#4a5560}"
    "a{color:#0b57d0}"
    "@media(prefers-color-scheme:dark){body{color:#e3e6e9;background:#16191c}code,pre{background:#23282d}"
    "td,th{border-color:#3a4148}blockquote{border-color:#3a4148;color:#a5b0ba}a{color:#8ab4f8}}"
)


def pages() -> dict[str, str]:
    """Return every file that the server serves, by its path below /docs."""
    made: dict[str, str] = {}
    whole = document(OPERATIONS)
    listed: list[tuple[str, str, str]] = []
    for operation in OPERATIONS:
        path = f"api/{slug(operation)}"
        made[f"{path}.md"] = _operation_page(operation, whole)
        listed.append((path, operation.summary, operation.description))
    files = sorted(DOCS.glob("*.md"), key=lambda path: (*FIRST, path.stem).index(path.stem))
    guides = [(path.stem, *_title(path.read_text(encoding="utf-8"))) for path in files]
    for stem, _, _ in guides:
        made[f"{stem}.md"] = (DOCS / f"{stem}.md").read_text(encoding="utf-8")
    made["index.md"] = _index(guides, listed)
    for path in list(made):
        made[path.removesuffix(".md") + ".html"] = _html(made[path])
    made["llms.txt"] = _llms(guides, listed)
    everything = [made[f"{stem}.md"] for stem, _, _ in guides] + [made[f"{path}.md"] for path, _, _ in listed]
    made["llms-full.txt"] = "\n\n---\n\n".join(everything)
    return made


def slug(operation: Operation) -> str:
    """Return the name of an operation's page: `terminate-automation`; Interlock's own begin with `interlock-`."""
    last = re.sub(r"(?<=[a-z])([A-Z])", r"-\1", short_name(operation).rpartition(".")[2]).lower()
    if operation.visibility is Visibility.OWN:
        return f"interlock-{last}"
    return f"{last}-webhook" if ".webhooks." in operation.id else last


def _operation_page(operation: Operation, whole: dict[str, Any]) -> str:
    method = operation.method.lower()
    parts = [INDEX_NOTE, f"# {operation.summary}\n\n> {operation.description}\n\n"]
    fragment = yaml.dump(_fragment(operation, whole), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    parts.append(f"## OpenAPI\n\n````yaml {method} {operation.path}\n{fragment}````\n\n")
    parts.append("All schemas: [/openapi.yaml](/openapi.yaml).\n\n")
    found = samples(operation)
    if found:
        parts.append(
            "## Samples\n\nThe samples read `CONDUCTORONE_SERVER_URL`, and ids from `AUTOMATION_ID`, `EXECUTION_ID` "
            "and so on. `interlock token` prints a bearer token for the client in `CONDUCTORONE_CLIENT_ID` and "
            "`CONDUCTORONE_CLIENT_SECRET`, or in the profile.\n\n"
        )
        parts += [f"### {sample.label}\n\n```{sample.language}\n{sample.source}\n```\n\n" for sample in found]
    parts += _behaviour(operation)
    parts.append("## Errors\n\nEvery error is a `google.rpc.Status`, `{code, message, details}`.\n\n")
    parts.append("| status | meaning | what to do |\n|---|---|---|\n")
    answers = whole["paths"][operation.path][method]["responses"]
    for status, answer in answers.items():
        if status != "200":
            parts.append(f"| {status} | {answer['description']} | {CAUSES[status]} |\n")
    return "".join(parts)


def _behaviour(operation: Operation) -> Iterator[str]:
    stops = operation.id.endswith(".TerminateAutomation")
    if operation.more or operation.permission or stops:
        yield "## Behaviour\n\n"
    if operation.more:
        yield f"{operation.more}\n\n"
    if operation.permission:
        within = ", for the tenant or for the automation's app" if operation.within_apps else ""
        yield f"The caller needs the permission `{operation.permission}`{within}.\n\n"
    for title, headers in (("Request", operation.reads), ("Answer", operation.answers_with)):
        if headers:
            yield f"| {title.lower()} header | |\n|---|---|\n"
            yield from (f"| `{header.name}` | {header.description} |\n" for header in headers)
            yield "\n"
    if stops:
        yield STOP.strip().replace("## Effect of a terminate", "### Effect in each state") + "\n\n"


def _fragment(operation: Operation, whole: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document of one operation, with the schemas that it names itself."""
    found = whole["paths"][operation.path][operation.method.lower()]
    names = dict.fromkeys(re.findall(r"#/components/schemas/([\w.]+)", str(found)))
    schemas = whole["components"]["schemas"]
    return {
        "openapi": whole["openapi"],
        "servers": whole["servers"],
        "security": whole["security"],
        "paths": {operation.path: {operation.method.lower(): found}},
        "components": {
            "schemas": {name: schemas[name] for name in names},
            "securitySchemes": whole["components"]["securitySchemes"],
        },
    }


def _title(text: str) -> tuple[str, str]:
    """Return the heading of a page, and the first sentence after it."""
    heading, _, rest = text.partition("\n")
    paragraph = " ".join(rest.strip().split("\n\n")[0].split())
    return heading.removeprefix("# "), re.split(r"(?<=\.)\s", paragraph)[0]


def _index(guides: list[tuple[str, str, str]], listed: list[tuple[str, str, str]]) -> str:
    parts = [
        "# Interlock\n\nThe guides, and every operation of the API. Each page is also available as Markdown: "
        "replace `.html` by `.md`.\n\n"
    ]
    parts.append("## Guides\n\n")
    parts += [f"- [{title}](/docs/{stem}.html): {about}\n" for stem, title, about in guides]
    parts.append("\n## Operations\n\n")
    parts += [f"- [{title}](/docs/{path}.html): {about}\n" for path, title, about in listed]
    parts.append("\nThe complete API description: [/openapi.yaml](/openapi.yaml), [/openapi.json](/openapi.json).\n")
    return "".join(parts)


def _llms(guides: list[tuple[str, str, str]], listed: list[tuple[str, str, str]]) -> str:
    """Return the index for language models (llmstxt.org)."""
    parts = [
        "# Interlock\n\n> A self-hosted automation engine with C1's Automations API. Any run can be stopped "
        "immediately and reliably, with a truthful receipt.\n\n## Guides\n\n"
    ]
    parts += [f"- [{title}](/docs/{stem}.md): {about}\n" for stem, title, about in guides]
    parts.append("\n## API\n\n")
    parts += [f"- [{title}](/docs/{path}.md): {about}\n" for path, title, about in listed]
    parts.append("\n## Optional\n\n- [Everything in one file](/docs/llms-full.txt)\n- [OpenAPI](/openapi.yaml)\n")
    return "".join(parts)


def anchor(heading: str) -> str:
    """Return the id of a heading as Markdown renderers make it: `Full disk` is `full-disk`."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _html(text: str) -> str:
    """Return a page as HTML, without scripts and without resources from other hosts."""
    title, _ = _title(text.removeprefix(INDEX_NOTE))
    linked = re.sub(r"\((?!https?:)([\w./-]+)\.md(#[\w-]+)?\)", r"(\1.html\2)", text)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(linked)
    for token, inner in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(inner.content))
    body = markdown.renderer.render(tokens, markdown.options, {})
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title if title == NAME else f'{title} · {NAME}')}</title>\n<style>{STYLE}</style>\n"
        f'<nav><a href="/docs">All pages</a></nav>\n<main>\n{body}</main>\n</html>\n'
    )
