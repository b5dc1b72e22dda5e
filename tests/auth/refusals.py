"""The one refusal of the token endpoint."""

from __future__ import annotations

from interlock.auth.token_endpoint import TokenAnswer
from tests.auth.clients import HOST, World, content, headers


async def assert_refused(here: World, answer: TokenAnswer, cause: str) -> None:
    assert answer.status == 401, content(answer)
    assert content(answer) == {"error": "invalid_client", "error_description": "client authentication failed"}
    assert headers(answer)["WWW-Authenticate"] == f'Bearer realm="{HOST}"'
    entry = (await here.audited()).entry
    assert (entry.action, entry.outcome, entry.reason) == ("token.issue", "denied", cause)
