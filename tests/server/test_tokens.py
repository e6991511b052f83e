"""With tokens every route but the health check asks for one, and the server may be reached from other machines."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from modeldb_core.config import load_settings
from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import PluginManager
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.api import ROUTES
from modeldb_server.routes import Policy
from modeldb_server.settings import server_settings

TOKEN, OTHER, READER = "one-of-the-tokens-1", "one-of-the-tokens-2", "a-token-to-read-with"
SECRETS = (TOKEN, OTHER, READER)


@pytest.fixture
def settings() -> ServerSettings:
    return ServerSettings(port=0, tokens=(TOKEN, OTHER), read_tokens=(READER,), max_event_streams=3, threads=2)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def ask(app: Flask, route_path: str, method: str = "GET", **options: Any) -> Any:
    options.setdefault("base_url", "http://127.0.0.1:5000")
    return app.test_client().open(route_path, method=method, **options)


def concrete(path: str, filled: Any) -> str:
    path = path.replace("<run_id>", filled.run_id).replace("<entity_id>", filled.run_id)
    return path.replace("<digest>", filled.blobs["notes.txt"])


NO_TOKEN = [
    {},
    bearer(""),
    bearer("wrong-but-long-enough"),
    bearer(TOKEN + "x"),
    bearer(TOKEN[:-1]),
    bearer(TOKEN.upper()),
    basic("wrong-but-long-enough"),
    basic("", TOKEN),
    {"Authorization": "Basic !!!"},
    {"Authorization": f"Digest {TOKEN}"},
    {"Authorization": TOKEN},
    {"X-Token": TOKEN},
]


@pytest.mark.parametrize("headers", NO_TOKEN, ids=range(len(NO_TOKEN)))
def test_every_route_but_health_asks_for_a_token(app: Flask, filled: Any, headers: dict[str, str]) -> None:
    before = filled.store.heads()
    for route in ROUTES:
        sent = {"headers": {**headers, "X-ModelDB": "1"}, "content_type": route.body_type}
        response = ask(app, concrete(route.path, filled), route.method, **sent)
        if route.policy is Policy.PUBLIC:
            assert response.status_code == 200
            continue
        assert response.status_code == 401, route.name
        assert [item.split(" ")[0] for item in response.headers.getlist("WWW-Authenticate")] == ["Basic", "Bearer"]
        assert not any(secret in response.text for secret in SECRETS)
    for path in ("/nothing", "/api/v2/nothing", "/"):
        assert ask(app, path, headers=headers).status_code == 401
    assert filled.store.heads() == before


@pytest.mark.parametrize("headers", [bearer(TOKEN), bearer(OTHER), basic(TOKEN), basic(OTHER, ""), basic(READER)])
def test_a_token_lets_one_read_however_it_is_shown(app: Flask, filled: Any, headers: dict[str, str]) -> None:
    for route in ROUTES:
        if route.method == "GET" and not route.parameters and "<" not in route.path:
            assert ask(app, route.path, headers=headers).status_code == 200, route.name
    assert ask(app, f"/api/v2/runs/{filled.run_id}/artifacts?path=notes.txt", headers=headers).status_code == 200
    assert ask(app, "/nothing", headers=headers).status_code == 404


def test_event_streams_ask_for_it_too(app: Flask) -> None:
    assert ask(app, "/api/v2/events").status_code == 401
    response = ask(app, "/api/v2/events", headers=basic(READER))
    assert response.status_code == 200
    assert b"event: ready" in next(response.iter_encoded())
    response.close()


def test_a_read_token_changes_nothing(app: Flask, filled: Any) -> None:
    before = filled.store.heads()
    for route in ROUTES:
        if route.policy is Policy.WRITE:
            sent = {"headers": {**bearer(READER), "X-ModelDB": "1"}, "content_type": route.body_type, "data": b"{}"}
            response = ask(app, concrete(route.path, filled), route.method, **sent)
            assert (response.status_code, response.json["error"]["code"]) == (403, "permission_denied"), route.name
            assert "reading only" in response.json["error"]["message"]
    assert filled.store.heads() == before


def test_a_token_lets_one_write(app: Flask, filled: Any) -> None:
    headers = {**basic(OTHER), "X-ModelDB": "1"}
    response = ask(app, f"/api/v2/runs/{filled.run_id}", "PATCH", json={"name": "new"}, headers=headers)
    assert (response.status_code, response.json["name"]) == (200, "new")
    # What a browser sends by itself is not enough: a foreign page could make it send that.
    response = ask(app, f"/api/v2/runs/{filled.run_id}", "PATCH", json={"name": "bad"}, headers=basic(OTHER))
    assert response.status_code == 403
    foreign = {**headers, "Origin": "http://evil.example"}
    assert ask(app, f"/api/v2/runs/{filled.run_id}", "PATCH", json={"name": "bad"}, headers=foreign).status_code == 403


def test_pages_of_plugins_ask_for_it(filled: Any, settings: ServerSettings) -> None:
    app = create_app(filled.store, filled.artifacts, settings, plugins=PluginManager())
    app.add_url_rule("/page", "page", lambda: "secret content")
    app.extensions["modeldb_policies"]["page"] = Policy.READ
    response = ask(app, "/page")
    assert (response.status_code, "secret content" in response.text) == (401, False)
    assert ask(app, "/page", headers=basic(READER)).text == "secret content"


def test_tokens_are_shown_nowhere(
    app: Flask, filled: Any, settings: ServerSettings, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    core = load_settings(environ={"MODELDB_SERVER_TOKENS": f"{TOKEN},{OTHER}", "MODELDB_SERVER_READ_TOKENS": READER})
    shown = [repr(settings), repr(core), repr(list(core.describe())), repr(app.extensions["modeldb_server"])]
    for headers in (bearer(TOKEN), basic(TOKEN), bearer(TOKEN + "x")):
        for path in ("/api/v2/runs", "/nothing", "/api/v2/runs/none", "/metrics", "/api/v2/server"):
            response = ask(app, path, headers=headers)
            shown += [response.text, str(response.headers)]
    shown += [caplog.text, *capsys.readouterr()]
    assert not [secret for secret in SECRETS for text in shown if secret in text]
    assert server_settings(core).tokens == (TOKEN, OTHER)


@pytest.mark.parametrize(
    "token", ["short", "with a space in it ok", "with\nline-end-in-it", "käse" * 5, "x" * 2000, "a,b" * 9]
)
@pytest.mark.parametrize("kind", ["tokens", "read_tokens"])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused_unseen(token: str, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"server.{kind}.*token_urlsafe") as caught:
        ServerSettings(**{kind: (token,)})  # type: ignore[arg-type]
    assert token not in str(caught.value)


def test_a_token_allows_one_of_both() -> None:
    with pytest.raises(ConfigurationError, match="in common"):
        ServerSettings(tokens=(TOKEN,), read_tokens=(TOKEN,))


# -- where it listens -------------------------------------------------------------------------------------------------


@pytest.fixture
def everywhere(filled: Any) -> Iterator[Server]:
    chosen = ServerSettings(host="0.0.0.0", port=0, tokens=(TOKEN,))
    server = Server(create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager()))
    yield server
    server.close()


def test_with_a_token_it_may_listen_beyond_loopback_and_says_what_that_means(everywhere: Server) -> None:
    text = "\n".join(everywhere.greeting())
    assert "MODELDB_TOKEN" in text
    assert "clear text" in text
    assert "TLS" in text
    assert "0.0.0.0" not in everywhere.url
    assert TOKEN not in text


def test_on_loopback_it_says_how_to_log_in_and_no_more(filled: Any, settings: ServerSettings) -> None:
    server = Server(create_app(filled.store, filled.artifacts, settings, plugins=PluginManager()))
    text = "\n".join(server.greeting())
    server.close()
    assert "a browser asks for a name" in text
    assert "clear text" not in text


def test_addresses_and_the_machines_own_name_are_answered_for_others_not(everywhere: Server) -> None:
    import socket

    for host, status in (
        ("192.168.7.7:5000", 200),
        ("[2001:db8::1]:5000", 200),
        (socket.gethostname(), 200),
        ("localhost", 200),
        ("evil.example", 403),
        ("10.0.0.1.evil.example", 403),
    ):
        response = ask(everywhere.app, "/api/v2/server", headers={**bearer(TOKEN), "Host": host})
        assert response.status_code == status, host


def test_an_address_of_no_machine_is_refused(filled: Any) -> None:
    chosen = ServerSettings(host="203.0.113.7", port=0, tokens=(TOKEN,))
    with pytest.raises(ConfigurationError, match=r"cannot listen on 203\.0\.113\.7"):
        Server(create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager()))
    chosen = ServerSettings(host="", port=0, tokens=(TOKEN,))
    with pytest.raises(ConfigurationError, match="name an address"):
        Server(create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager()))
