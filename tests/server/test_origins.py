"""Pages of other origins: those that are listed may ask the JSON API, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import PluginManager
from modeldb_server import ServerSettings, create_app
from tests.server.conftest import Client

ORIGIN, TOKEN = "https://dashboard.example.org", "a-token-of-the-page"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-modeldb"}
CROSS = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


def client_of(filled: Any, **settings: Any) -> Client:
    chosen = ServerSettings(allowed_origins=(ORIGIN,), **settings)
    return Client(create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager()))


def granted(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.headers if name.startswith("Access-Control")}


@pytest.mark.parametrize("tokens", [(), (TOKEN,)])
def test_a_page_of_a_listed_origin_asks_first_and_then_writes(filled: Any, tokens: tuple[str, ...]) -> None:
    client = client_of(filled, tokens=tokens)
    answer = client.request("OPTIONS", "/api/v2/runs", headers={"Origin": ORIGIN, **ASKED})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    for name in ("Authorization", "Content-Type", "X-ModelDB", "Idempotency-Key"):
        assert name in answer.headers["Access-Control-Allow-Headers"]
    shown = {"Authorization": f"Bearer {TOKEN}"} if tokens else {}
    headers = {**CROSS, **shown, "X-ModelDB": "1"}
    created = client.request("POST", "/api/v2/runs", json={"project": "p"}, headers=headers)
    assert created.status_code == 201
    assert created.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert created.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Origin" in created.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in created.headers
    assert client.request("GET", "/api/v2/runs", headers={**CROSS, **shown}).status_code == 200
    refused = client.request("GET", "/api/v2/runs/none", headers={**CROSS, **shown})
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN, "the page can read what was wrong"


def test_no_other_origin_and_no_other_path_is_open(filled: Any) -> None:
    client = client_of(filled)
    others = ("https://dashboard.example.org.evil", "http://dashboard.example.org", f"{ORIGIN}:444", "null", "")
    for origin in others:
        for method in ("GET", "OPTIONS"):
            answer = client.request(method, "/api/v2/runs", headers={**CROSS, **ASKED, "Origin": origin})
            assert (answer.status_code, granted(answer)) == (403, {}), origin
    for path in ("/api/v2/store", "/api/v2/store/heads", "/", "/nothing"):
        for method in ("GET", "OPTIONS"):
            answer = client.request(method, path, headers={**CROSS, **ASKED})
            assert (answer.status_code, granted(answer)) == (403, {}), (method, path)


def test_a_listed_page_needs_what_everybody_needs(filled: Any) -> None:
    client = client_of(filled, tokens=(TOKEN,))
    answer = client.request("GET", "/api/v2/runs", headers=CROSS)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
    shown = {**CROSS, "Authorization": f"Bearer {TOKEN}"}
    assert client.request("POST", "/api/v2/runs", json={"project": "p"}, headers=shown).status_code == 403
    question = client.request("OPTIONS", "/api/v2/runs", headers={"Origin": ORIGIN})
    assert question.status_code == 401, "no question before a request, so no exception for it"


@pytest.mark.parametrize(
    "wrong", ["*", "https://*.example.org", "dashboard.example.org", "https://a.example.org/", "ftp://a", "null", ""]
)
def test_an_origin_is_listed_in_full(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed origin"):
        ServerSettings(allowed_origins=(wrong,))
