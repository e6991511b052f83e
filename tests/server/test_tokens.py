"""With tokens every route but the health check asks for one, and the server may be reached from other machines."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from modeldb_core.errors import ConfigurationError
from modeldb_core.plugins import PluginManager, load_settings
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.api import routes
from modeldb_server.guesses import (
    FREE_GUESSES,
    GUESS_INTERVAL_S,
    MAX_ADDRESSES,
    MAX_REMEMBERED,
    Guesses,
    address_group,
)
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
    for route in routes():
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
    for route in routes():
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
    for route in routes():
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
@pytest.mark.parametrize("kind", ["tokens", "read_tokens", "erase_tokens"])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused_unseen(token: str, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"server.{kind}.*token_urlsafe") as caught:
        ServerSettings(**{kind: (token,)})  # type: ignore[arg-type]
    assert token not in str(caught.value)


def test_a_token_allows_one_of_both() -> None:
    with pytest.raises(ConfigurationError, match="in common"):
        ServerSettings(tokens=(TOKEN,), read_tokens=(TOKEN,))


# -- who guesses ------------------------------------------------------------------------------------------------------


def guess(number: int) -> dict[str, str]:
    return bearer(f"a-guess-of-a-token-{number}")


def ask_from(app: Flask, address: str, headers: dict[str, str]) -> Any:
    return ask(app, "/api/v2/server", headers=headers, environ_base={"REMOTE_ADDR": address})


def test_an_address_that_guesses_tokens_is_slowed_down_counted_and_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [ask_from(app, "203.0.113.9", guess(number)) for number in range(500)]
    statuses = [answer.status_code for answer in answers]
    held_back = statuses.count(429)
    assert statuses[:FREE_GUESSES] == [401] * FREE_GUESSES
    assert held_back >= 400  # some may be looked at meanwhile
    assert answers[-1].json["error"]["code"] == "busy"
    assert "Retry-After" in answers[-1].headers
    text = ask_from(app, "127.0.0.1", bearer(READER)).text and ask(app, "/metrics", headers=bearer(READER)).text
    assert f'modeldb_token_refusals_total{{reason="wrong"}} {500 - held_back}.0' in text
    assert f'modeldb_token_refusals_total{{reason="too_many"}} {held_back}.0' in text
    lines = [record.getMessage() for record in caplog.records if record.name == "modeldb_server.tokens"]
    assert len(lines) == 500 - held_back
    assert all(line.startswith("a wrong token was shown from 203.0.113.9") for line in lines)
    assert "one token is tried every 5 s" in lines[FREE_GUESSES - 1]
    assert "a-guess" not in caplog.text


def test_the_right_token_is_no_better_than_a_guess_once_there_were_too_many(app: Flask) -> None:
    for number in range(FREE_GUESSES):
        ask_from(app, "203.0.113.9", guess(number))
    assert ask_from(app, "203.0.113.9", bearer(TOKEN)).status_code == 429
    assert ask_from(app, "203.0.113.10", bearer(TOKEN)).status_code == 200


def test_who_was_let_in_before_is_let_in_while_others_behind_the_same_address_guess(app: Flask) -> None:
    assert ask_from(app, "203.0.113.9", bearer(TOKEN)).status_code == 200
    for number in range(200):
        ask_from(app, "203.0.113.9", guess(number))
    assert ask_from(app, "203.0.113.9", basic(TOKEN)).status_code == 200
    assert ask_from(app, "203.0.113.9", bearer(OTHER)).status_code == 429


def test_programs_with_an_old_token_slow_nobody_down(app: Flask) -> None:
    for _ in range(200):
        assert ask_from(app, "203.0.113.9", guess(1)).status_code == 401
    assert ask_from(app, "203.0.113.9", bearer(TOKEN)).status_code == 200


def test_requests_without_a_token_and_health_checks_are_no_guesses(app: Flask) -> None:
    for _ in range(FREE_GUESSES + 1):
        assert ask_from(app, "203.0.113.9", {}).status_code == 401
    for number in range(FREE_GUESSES + 1):
        response = ask(app, "/health", headers=guess(number), environ_base={"REMOTE_ADDR": "203.0.113.9"})
        assert response.status_code == 200
    assert ask_from(app, "203.0.113.9", bearer(TOKEN)).status_code == 200


@pytest.mark.parametrize(
    ("proxy", "has_left"), [("127.0.0.1", True), ("127.0.0.0/8", True), ("127.0.0.2", False), ("", False)]
)
def test_only_a_trusted_proxy_says_who_guesses(filled: Any, proxy: str, has_left: bool) -> None:
    from http.client import HTTPConnection

    from tests.services.server import serving

    settings = ServerSettings(port=0, tokens=(TOKEN,), trusted_proxy=proxy)

    def status(url: str, said: str, headers: dict[str, str]) -> int:
        connection = HTTPConnection(url.removeprefix("http://"), source_address=("127.0.0.1", 0), timeout=60)
        connection.request("GET", "/api/v2/store", headers={**headers, "X-Forwarded-For": said})
        found = connection.getresponse().status
        connection.close()
        return found

    with serving(filled.store, filled.artifacts, settings) as url:
        for number in range(FREE_GUESSES):
            # What a client put there before the proxy added its address is not believed.
            assert status(url, f"198.51.100.{number}, 203.0.113.9", guess(number)) == 401
        assert status(url, "203.0.113.9", bearer(TOKEN)) == 429
        assert status(url, "203.0.113.10", bearer(TOKEN)) == (200 if has_left else 429)


@pytest.mark.parametrize("address", ["*", "localhost", "0.0.0.0/0", "10.0.0.1/8", "127.0.0.1:80", "010.0.0.1"])
def test_a_trusted_proxy_is_one_address_or_one_network(address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected one IP address"):
        ServerSettings(trusted_proxy=address)


def test_time_gives_guesses_back_one_by_one() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for number in range(FREE_GUESSES):
        assert guesses.may_try("203.0.113.9", b"%d" % number)
        guesses.refuse("203.0.113.9", b"%d" % number)
    assert not guesses.may_try("203.0.113.9", b"new")
    tried = 0
    for _ in range(100):
        now[0] += GUESS_INTERVAL_S / 2
        if guesses.may_try("203.0.113.9", b"new %d" % tried):
            guesses.refuse("203.0.113.9", b"new %d" % tried)
            tried += 1
    assert tried == 50
    now[0] += 1e9
    assert guesses.refuse("203.0.113.9", b"after a long time") == (True, FREE_GUESSES - 1)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("203.0.113.9", "203.0.113.8", False),
        ("", "203.0.113.8", False),
    ],
)
def test_what_one_machine_may_call_itself_counts_as_one_address(one: str, other: str, is_same: bool) -> None:
    assert (address_group(one) == address_group(other)) is is_same


def test_guesses_from_many_addresses_do_not_fill_the_memory() -> None:
    guesses = Guesses()
    for number in range(MAX_ADDRESSES + 100):
        guesses.refuse(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", b"wrong")
    for number in range(200):
        guesses.refuse("203.0.113.9", b"%d" % number)
    assert len(guesses._addresses) == MAX_ADDRESSES
    assert len(guesses._addresses["203.0.113.9"].known) <= MAX_REMEMBERED


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


def test_only_tokens_for_erasing_erase(tmp_path: Any) -> None:
    from modeldb_core.backends.blobs import FsspecArtifactStore
    from modeldb_core.backends.memory import MemoryStore
    from modeldb_core.log.batches import MEDIA_TYPE, encode_changes
    from modeldb_core.stores.protocol import PREFIX
    from modeldb_core.testing import StreamWriter
    from modeldb_server.app import create_app

    eraser = "a-token-to-erase-with"
    settings = ServerSettings(port=0, actor="tester", tokens=(TOKEN,), read_tokens=(READER,), erase_tokens=(eraser,))
    writer = StreamWriter()
    created = writer.create("run", name="kept")
    writer.erase(created)
    with MemoryStore() as store:
        app = create_app(store, FsspecArtifactStore(f"file://{tmp_path}/files"), settings)

        def send(token: str, changes: Any) -> int:
            headers = {**bearer(token), "X-ModelDB": "1", "Content-Type": MEDIA_TYPE}
            data = encode_changes(changes)
            return int(ask(app, f"{PREFIX}/changes", "POST", headers=headers, data=data).status_code)

        assert send(READER, writer.changes[:1]) == 403
        assert send(TOKEN, writer.changes) == 403
        assert dict(store.heads()) == {}
        assert send(TOKEN, writer.changes[:1]) == 200
        assert send(TOKEN, writer.changes[1:]) == 403
        assert store.get("run", created.entity_id).name == "kept"
        assert send(eraser, writer.changes) == 200
        assert store.get("run", created.entity_id).name == ""
    with pytest.raises(ConfigurationError, match="in common"):
        ServerSettings(tokens=(TOKEN,), erase_tokens=(TOKEN,))
