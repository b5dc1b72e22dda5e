"""The pages that the server hands out: whole, and without a dead link."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

from interlock.operations.table import OPERATIONS
from tools.pages.build import ROOT, anchor, pages, slug
from tools.pages.samples import samples, short_name


@pytest.fixture(scope="module")
def made() -> Mapping[str, str]:
    return pages()


def test_every_operation_has_a_page_of_its_own_in_both_forms(made: Mapping[str, str]) -> None:
    slugs = [slug(operation) for operation in OPERATIONS]
    assert len(set(slugs)) == len(slugs)
    for name in slugs:
        assert {f"api/{name}.md", f"api/{name}.html"} <= made.keys()


@pytest.mark.parametrize("operation", OPERATIONS, ids=short_name)
def test_a_page_has_what_it_takes_to_use_the_operation(made: Mapping[str, str], operation: object) -> None:
    found = next(each for each in OPERATIONS if each is operation)
    page = made[f"api/{slug(found)}.md"]
    assert f"# {found.summary}\n\n> {found.description}" in page
    assert f"````yaml {found.method.lower()} {found.path}\nopenapi: 3.1.0" in page
    assert "## Errors" in page
    labels = [sample.label for sample in samples(found)]
    assert labels == re.findall(
        r"^### (.+)$", page.partition("## Samples")[2].partition("## Behaviour")[0], re.MULTILINE
    )
    assert bool(labels) == (found.permission is not None)


def test_the_page_of_the_stop_has_the_parts_of_the_one_that_c1_published(made: Mapping[str, str]) -> None:
    page = made["api/terminate-automation.md"]
    at = [page.index(part) for part in ("/docs/llms.txt", "# Terminate Automation", "## OpenAPI", "## Samples")]
    assert at == sorted(at)
    for label in ("curl", "Python", "TypeScript (SDK)", "Go (SDK)", "Interlock's command line", "Effect in each state"):
        assert f"### {label}\n" in page


def test_no_link_leads_nowhere(made: Mapping[str, str]) -> None:
    known = {f"/docs/{path}" for path in made} | {"/docs", "/openapi.yaml", "/openapi.json"}
    for path, text in made.items():
        base = "/docs/api/" if path.startswith("api/") else "/docs/"
        targets = (
            re.findall(r'href="([^"]+)"', text) if path.endswith(".html") else re.findall(r"\]\(([^)\s]+)\)", text)
        )
        for target in targets:
            if not target.startswith("https://"):
                page, _, heading = target.partition("#")
                whole = (page if page.startswith("/") else base + page) if page else f"/docs/{path}"
                assert whole in known, (path, target)
                if heading:
                    there = made[whole.removeprefix("/docs/")]
                    assert heading in (
                        re.findall(r'<h[1-6] id="([^"]+)">', there)
                        if whole.endswith(".html")
                        else [anchor(line) for line in re.findall(r"^#+ (.+)$", there, re.MULTILINE)]
                    ), (path, target)


def test_title_of_the_index_is_the_name_once(made: Mapping[str, str]) -> None:
    assert "<title>Interlock</title>" in made["index.html"]
    assert "<title>Quick start · Interlock</title>" in made["quickstart.html"]


def test_a_page_takes_nothing_from_elsewhere(made: Mapping[str, str]) -> None:
    for path, text in made.items():
        if path.endswith(".html"):
            assert not re.search(r"<(script|img|link|iframe|form)\b|@import|url\(", text), path


def test_a_build_makes_the_pages_whatever_the_checkout_holds(tmp_path: Path) -> None:
    """A clean checkout has none: the build hook has to make them, and a wheel holds them."""
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    assert not (source / "src" / "interlock" / "api" / "pages").exists()
    code = "import hatchling.build; print(hatchling.build.build_wheel('..'))"
    built = subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True, text=True)
    with ZipFile(tmp_path / built.stdout.strip()) as wheel:
        names = {name.removeprefix("interlock/api/pages/") for name in wheel.namelist()}
    assert pages().keys() <= names
