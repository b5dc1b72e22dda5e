"""What is answered without a bearer token: health, the document, metrics, tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from interlock.api.edge import Request
from interlock.api.endpoints import pages
from interlock.errors import NotFound
from interlock.ports import Health
from tests.api.app_client import AppClient
from tests.loops import METER

pytestmark = pytest.mark.anyio

FORM = [("content-type", "application/x-www-form-urlencoded")]


async def test_it_is_alive_and_ready(admin: AppClient) -> None:
    assert (await admin.ask("GET", "/healthz", token=None)).tree == {"status": "ok"}
    assert (await admin.ask("GET", "/readyz", token=None)).tree == {"status": "ready", "reasons": {}}


async def test_a_server_that_drains_or_failed_is_not_ready_and_says_why(admin: AppClient) -> None:
    admin.health = Health(ready=False, reasons={"draining": "the server is stopping"})
    answer = await admin.ask("GET", "/readyz", token=None)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.tree == {"status": "not ready", "reasons": {"draining": "the server is stopping"}}


async def test_a_server_with_a_full_disk_stays_ready_because_it_can_still_stop_runs(admin: AppClient) -> None:
    admin.health = Health(ready=True, reasons={"disk": "full"})
    answer = await admin.ask("GET", "/readyz", token=None)
    assert (answer.status, answer.tree) == (200, {"status": "degraded", "reasons": {"disk": "full"}})


async def test_metrics_are_open_to_this_machine_and_else_to_who_has_a_token(admin: AppClient) -> None:
    await admin.operations_client.services.store.access.add_hosts(admin.operations_client.tenant.id, ("::1",), 1)
    for host, address, token, status in (
        ("localhost", "127.0.0.1", None, 200),
        ("[::1]:8080", "::1", None, 200),
        ("localhost", "192.0.2.7", None, 401),
        ("localhost", "192.0.2.7", "", 200),
        ("localhost", "192.0.2.7", "nonsense", 401),
    ):
        answer = await admin.ask("GET", "/metrics", host=host, address=address, token=token)
        assert answer.status == status, (host, address, token)


async def test_a_page_that_made_a_browser_ask_by_another_name_sees_no_metrics(admin: AppClient) -> None:
    """DNS rebinding: the address is this machine's own, the name is the attacker's choice."""
    await admin.operations_client.services.store.access.add_hosts(
        admin.operations_client.tenant.id, ("interlock.example",), 1
    )
    assert (await admin.ask("GET", "/metrics", host="interlock.example", token=None)).status == 401


async def test_the_keys_are_public(admin: AppClient) -> None:
    answer = await admin.ask("GET", "/auth/v1/jwks", token=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/jwk-set+json")
    assert [key["kty"] for key in answer.tree["keys"]] == ["OKP"]


def test_pages_are_handed_out_by_their_names_and_the_index_first(tmp_path: Path) -> None:
    (tmp_path / "pages" / "api").mkdir(parents=True)
    for name in ("index.html", "llms.txt", "api/terminate-automation.md"):
        (tmp_path / "pages" / name).write_text(name)
    paths = [endpoint.path for endpoint in pages(tmp_path / "pages")]
    assert sorted(paths) == ["/docs", "/docs/api/terminate-automation.md", "/docs/index.html", "/docs/llms.txt"]


def test_pages_are_made_once_for_all_servers_of_a_process(tmp_path: Path) -> None:
    root = tmp_path / "pages"
    (root / "api").mkdir(parents=True)
    assert [endpoint.path for endpoint in pages(root)] == ["/docs"]
    for name in ("index.html", "llms.txt"):
        (root / name).write_text(name)
    made = pages(root)
    assert len(made) == 3, "pages that are built later are found"
    assert all(again is endpoint for again, endpoint in zip(pages(root), made, strict=True))


async def test_an_installation_without_pages_says_so(admin: AppClient, tmp_path: Path) -> None:
    [endpoint] = pages(tmp_path / "pages")
    assert endpoint.path == "/docs"
    with pytest.raises(NotFound, match=r"has no documentation pages.*make install"):
        await endpoint.answer(Request(admin.operations_client.tenant, "localhost", "127.0.0.1", {}, b"", b""))


@pytest.mark.parametrize("name", ["json", "yaml"])
async def test_the_openapi_document_is_public(admin: AppClient, name: str) -> None:
    answer = await admin.ask("GET", f"/openapi.{name}", token=None)
    assert answer.status == 200
    assert answer.headers["content-type"] == {"json": "application/json", "yaml": "application/yaml"}[name]
    with METER.leaving_out():
        assert yaml.safe_load(answer.body)["openapi"] == "3.1.0"


async def test_a_token_request_that_is_none_is_refused_as_oauth_has_it(admin: AppClient) -> None:
    answer = await admin.ask("POST", "/auth/v1/token", b"grant_type=password", token=None, headers=FORM)
    assert (answer.status, answer.tree["error"]) == (400, "unsupported_grant_type")
