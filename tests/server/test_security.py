"""The abstract tests T01 to T30 that follow from what happened to other trackers, as far as they apply to this server.

Accounts and tokens (T07, T24, T29) and imports of archives (T18) are in ``test_security_corpus.py``, with a corpus of
hostile input for every route; more on tokens and roles in ``test_tokens.py`` and ``test_accounts.py``. T13 is held by watching
for any outbound connection.
"""

from __future__ import annotations

import io
import itertools
import json
import mimetypes
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldb_core.errors import ConfigurationError, StoreUnavailableError
from modeldb_core.plugins import PluginManager
from modeldb_core.queries import MAX_CONTAINERS
from modeldb_server import Server, ServerSettings, create_app
from modeldb_server.api import routes
from modeldb_server.routes import Policy
from modeldb_server.security import POLICIES
from modeldb_server.settings import loopback_address

BASE = "http://127.0.0.1:5000"
SECRET = "the content of a file that is nobody's business"

TRAVERSALS = [
    "../../../../../../etc/passwd",
    "../secret.txt",
    "blobs/../secret.txt",
    "..\\..\\..\\windows\\win.ini",
    "..\\secret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "//proc/self/root/etc/passwd",
    "C:\\windows\\win.ini",
    "c:/windows/win.ini",
    "\\\\host\\share\\x",
    "....//....//....//etc/passwd",
    "..;/..;/etc/passwd",
    "%2e%2e/%2e%2e/secret.txt",
    "..%2f..%2fsecret.txt",
    "..%5c..%5csecret.txt",
    "%252e%252e%252fsecret.txt",
    "%25252e%25252e%25252fsecret.txt",
    "..%c0%af..%c0%afsecret.txt",
    "%uff0e%uff0e/secret.txt",
    "．．/secret.txt",
    "secret.txt%00.png",
    "~/.ssh/id_rsa",
    "$HOME/.bashrc",
    "/dev/zero",
    ".",
    "..",
]
URIS = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    " file:///etc/passwd",
    "file:/etc/passwd",
    "ｆile:///etc/passwd",
    "file://localhost/etc/passwd",
    "http://127.0.0.1:1/latest/meta-data",
    "http:///#/../../../etc/passwd",
    "http:///;/../../../etc/passwd",
    "http:///?/../../../etc/passwd",
    "dbfs:/../../etc/passwd",
    "s3://bucket/key#/../../etc/passwd",
    "models:/../../etc/passwd",
    "mlflow-artifacts://host:80/../../etc/passwd",
]


# -- watching what the process does -----------------------------------------------------------------------------------

_watched: list[tuple[str, tuple[Any, ...]]] = []
_watching = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _EVENTS:
        _watched.append((event, arguments))


_EVENTS = frozenset(
    {"open", "os.listdir", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link"}
    | {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"}
    | {"socket.connect", "socket.getaddrinfo", "pickle.find_class", "tempfile.mkstemp", "tempfile.mkdtemp"}
)
sys.addaudithook(_audit)


@contextmanager
def watching() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """Record which files are touched, processes started, connections made and pickles loaded."""
    global _watching
    mimetypes.init()  # reads the types known to the system, once for the process: not what is watched here
    _watched.clear()
    _watching = True
    try:
        yield _watched
    finally:
        _watching = False


def assert_harmless(events: list[tuple[str, tuple[Any, ...]]], tmp_path: Path) -> None:
    allowed = (str(tmp_path / "blobs"), str(tmp_path / "modeldb.db"), sys.prefix, sys.base_prefix)
    allowed += (str(Path(__file__).parents[2]), "/proc/self/stat", "/proc/stat", "/proc/self/fd")
    for event, arguments in events:
        if event in ("open", "os.listdir"):
            path = arguments[0]
            if isinstance(path, int) or path is None:
                continue
            name = path.decode() if isinstance(path, bytes) else str(path)
            assert name.startswith(allowed), f"{event} of {name}"
            assert event != "open" or not (arguments[1] or "r").startswith(("w", "a", "x", "+")), f"write to {name}"
        else:
            pytest.fail(f"{event} {arguments!r}")


@pytest.fixture(autouse=True)
def secret(tmp_path: Path) -> str:
    (tmp_path / "secret.txt").write_text(SECRET)
    return SECRET


def raw(server: Server, request: bytes) -> bytes:
    """Return everything that comes back for bytes that no client library would send."""
    with socket.create_connection((server.host, server.port), 30) as connection:
        received = b""
        with suppress(ConnectionError):  # refused before everything was read
            connection.sendall(request)
            while piece := connection.recv(1 << 20):
                received += piece
        return received


def request_bytes(target: str, host: str = "127.0.0.1") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("utf-8", "surrogateescape")


# -- T01 temporary files ----------------------------------------------------------------------------------------------


def test_t01_no_request_leaves_a_temporary_file(
    client: Any, filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with watching() as events:
        client.send("POST", "/api/v2/comments", {"parent_id": filled.run_id, "message": "x" * 100_000}, 201)
        client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts?path=" + quote("große Datei.bin"))
        seen = [arguments for event, arguments in events if event.startswith("tempfile")]
    assert seen == []
    assert list(folder.iterdir()) == []


# -- T02, T03 paths ---------------------------------------------------------------------------------------------------


def test_t02_no_path_parameter_reaches_a_file(client: Any, filled: Any, tmp_path: Path) -> None:
    templates = [
        f"/api/v2/runs/{filled.run_id}/artifacts?path={{}}",
        f"/api/v2/runs/{filled.run_id}/artifacts/preview?path={{}}",
        f"/api/v2/runs/{filled.run_id}/artifacts/index?prefix={{}}",
        f"/api/v2/runs/{filled.run_id}/series?key={{}}",
        "/api/v2/runs/{}/artifacts?path=notes.txt",
        "/api/v2/runs/{}",
        "/api/v2/projects/{}",
        "/api/v2/runs?within={}",
        "/api/v2/changes?entity_id={}",
        "/api/v2/{}",
        "/{}",
    ]
    for payload, template in itertools.product(TRAVERSALS + URIS, templates):
        target = template.format(quote(payload, safe=""))
        with watching() as events:
            response = client.request("GET", target)
            content = response.get_data()
        assert_harmless(events, tmp_path)
        assert response.status_code in (200, 400, 403, 404), target
        assert SECRET.encode() not in content
        assert b"root:" not in content
        assert response.status_code != 200 or response.is_json
        assert not response.is_json or not response.json.get("items"), target


def test_t02_raw_request_targets_reach_no_file(live: Any, filled: Any, tmp_path: Path) -> None:
    templates = ("/{}", "/api/v2/runs/{}", "/assets/1/{}", "/api/v2/runs/" + filled.run_id + "/artifacts?path={}")
    with watching() as events:
        answers = [
            raw(live.server, request_bytes(template.format(payload.replace(" ", "%20"))))
            for template, payload in itertools.product(templates, TRAVERSALS + URIS)
        ]
    events[:] = [item for item in events if item[0] not in ("socket.connect", "socket.getaddrinfo")]  # this test's own
    assert_harmless(events, tmp_path)
    for answer in answers:
        status = int(answer.split(b" ", 2)[1])
        assert 400 <= status < 500, answer[:200]
        assert SECRET.encode() not in answer


def test_t02_a_path_is_a_key_and_nothing_more(client: Any, filled: Any) -> None:
    for payload in TRAVERSALS + URIS:
        filled.add_artifact(payload, payload.encode())
        response = client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts?path={quote(payload, safe='')}")
        assert (response.status_code, response.data) == (200, payload.encode())
        name = response.headers["Content-Disposition"].removeprefix("attachment;")
        assert not any(part in name for part in ("/", "\\", "=..", "''.")), name


def test_t03_a_path_is_decoded_once(client: Any, filled: Any) -> None:
    filled.add_artifact("a%2fb", b"escaped")
    filled.add_artifact("a/b", b"plain")
    path = f"/api/v2/runs/{filled.run_id}/artifacts?path="
    assert client.request("GET", path + "a%252fb").data == b"escaped"
    assert client.request("GET", path + "a%2fb").data == b"plain"
    assert client.request("GET", path + "a%25252fb").status_code == 404


def test_t03_a_link_in_the_blob_store_leads_nowhere(client: Any, filled: Any, tmp_path: Path) -> None:
    digest = filled.blobs["notes.txt"]
    (file,) = (tmp_path / "blobs").rglob(digest)
    file.unlink()
    file.symlink_to(tmp_path / "secret.txt")
    for more in ("", "/preview"):
        response = client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts{more}?path=notes.txt")
        assert response.status_code in (404, 500)
        assert SECRET not in response.text


def test_t03_slashes_are_not_merged_and_nothing_redirects(live: Any) -> None:
    for target in ("//evil.example/%2f..", "/api/v2/runs/", "/api//v2/runs", "/%2f%2fevil.example", "/\\evil.example"):
        answer = raw(live.server, request_bytes(target))
        assert answer.split(b" ", 2)[1] in (b"404", b"400"), target
        assert b"Location:" not in answer


# -- T04, T05, T06 storage locations ----------------------------------------------------------------------------------


def test_t04_a_document_cannot_name_a_place_outside_the_blob_store(client: Any, filled: Any, tmp_path: Path) -> None:
    odd = ["A" * 64, "0" * 63, "0" * 64 + "\n", " " + "0" * 63, "０" * 64]
    for index, digest in enumerate([*TRAVERSALS, *URIS, *odd]):
        entry = {"digest": digest, "size_bytes": 10, "media_type": "text/plain"}
        filled.writer.update("run", filled.run_id, put={"artifacts": {f"odd-{index}": entry}})
    filled.apply()
    for number, more in itertools.product(range(index + 1), ("", "/preview")):
        with watching() as events:
            response = client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts{more}?path=odd-{number}")
        assert_harmless(events, tmp_path)
        assert response.status_code == 404


def test_t05_t06_no_field_tag_or_flag_of_a_run_is_taken_for_a_location(
    client: Any, filled: Any, tmp_path: Path
) -> None:
    names = ("uri", "url", "path", "source", "location", "artifact_uri", "artifact_location")
    path = f"/api/v2/runs/{filled.run_id}/artifacts"
    for uri in URIS:
        hints = dict.fromkeys(names, uri)
        filled.writer.update(
            "run",
            filled.run_id,
            set={"tags": ["is_prompt", "trusted", uri], "attributes": {"is_prompt": True, "artifact_root": uri}},
            put={"artifacts": {"odd": hints, "notes.txt": {"digest": filled.blobs["notes.txt"], **hints}}},
        )
        filled.apply()
        mimetypes.init()  # reads the types known to the system, once for the process: not what is watched here
        with watching() as events:
            assert client.request("GET", f"{path}?path=odd").status_code == 404
            assert client.request("GET", f"{path}?path=notes.txt").data == "Grüße\n".encode()
            assert "notes.txt" in [item["path"] for item in client.get(f"{path}/index")["items"]]
        assert_harmless(events, tmp_path)


def test_t05_no_parameter_of_the_api_is_a_location() -> None:
    written_down = {"add_version.source", "create_dataset_version.source"}  # in words: the server opens nothing there
    items = [(route, item) for route in routes() for item in (*route.parameters, *route.body)]
    names = {item.name for route, item in items if f"{route.name}.{item.name}" not in written_down}
    assert names.isdisjoint({"uri", "url", "root", "source", "location", "artifact_uri", "destination", "target"})


# -- T08, T09, T10 who may call ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.10", "[::]", "::ffff:10.0.0.1"])
def test_t08_without_authentication_only_loopback_is_bound_whatever_is_set(filled: Any, host: str) -> None:
    chosen = ServerSettings(host=host, port=0, allowed_hosts=("models.example.org",))
    app = create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager())
    with pytest.raises(ConfigurationError, match="no authentication"):
        Server(app)
    with pytest.raises(ConfigurationError):
        loopback_address(host)


def test_t09_every_route_has_a_policy_and_one_without_is_closed(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        assert isinstance(app.extensions[POLICIES].get(rule.endpoint), Policy), rule.rule
    app.add_url_rule("/api/v2/new", "new", lambda: "open")
    response = app.test_client().get("/api/v2/new", base_url=BASE)
    assert (response.status_code, response.json["error"]["code"]) == (403, "permission_denied")


def test_t09_every_route_that_takes_more_than_get_is_a_write_or_a_documented_read() -> None:
    reads = {route.name for route in routes() if route.method != "GET" and route.policy is not Policy.WRITE}
    assert reads == {
        "read_many_series",
        "find_stored_entities",
        "find_stored_keys",
        "find_stored_groups",
        "digest_order",
        "read_blobs",
    }
    assert {route.name for route in routes() if route.policy is Policy.PUBLIC} == {"get_health", "get_readiness"}


def test_t10_a_read_only_server_refuses_every_write(filled: Any) -> None:
    app = create_app(filled.store, filled.artifacts, ServerSettings(read_only=True), plugins=PluginManager())
    before = filled.store.heads()
    for route in routes():
        if route.policy is Policy.WRITE:
            path = route.path.replace("<run_id>", filled.run_id)
            headers = {"X-ModelDB": "1", "Content-Type": route.body_type}
            response = app.test_client().open(path, method=route.method, data=b"{}", base_url=BASE, headers=headers)
            assert (response.status_code, response.json["error"]["code"]) == (403, "store_read_only"), route.name
    assert filled.store.heads() == before


# -- T11, T12 requests from web pages ---------------------------------------------------------------------------------

BAD_HOSTS = [
    "evil.example",
    "evil.example:5000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#127.0.0.1",
    "localhost@evil.example",
    "127.0.0.1:abc",
    "127.0.0.1:80:80",
    "127.0.0.1, evil.example",
    "127.0.0.1 evil.example",
    "[::1",
    "[::1]evil.example",
    "0.0.0.0",
    "10.0.0.1",
    "2130706433",
    "0x7f000001",
    "127.1",
    "localhost.",
    "lоcalhost",
    "",
]


def concrete(rule: str, filled: Any) -> str:
    return rule.replace("<run_id>", filled.run_id).replace("<entity_id>", filled.run_id)


def test_t11_a_foreign_host_is_refused(client: Any) -> None:
    for host, path in itertools.product(BAD_HOSTS, ("/api/v2/runs", "/health", "/nothing")):
        response = client.request("GET", path, headers={"Host": host})
        assert response.status_code in (400, 403), (host, path, response.text)
        assert "items" not in response.text


def test_t11_a_foreign_host_is_refused_by_every_route(app: Flask, client: Any, filled: Any) -> None:
    for rule in app.url_map.iter_rules():
        for method in set(rule.methods or ()) - {"HEAD"}:
            path = concrete(rule.rule, filled)
            headers = {"Host": "evil.example", "X-ModelDB": "1"}
            body = {} if method in ("POST", "PATCH") else None
            assert client.request(method, path, headers=headers, json=body).status_code == 403, (method, path)


def test_t11_loopback_is_known_by_all_its_names(client: Any) -> None:
    for host in ("127.0.0.1", "127.0.0.1:8080", "localhost", "LocalHost:1", "[::1]", "[::1]:80", "127.9.9.9"):
        assert client.request("GET", "/health", headers={"Host": host}).status_code == 200


def test_t11_an_allowed_host_is_known_and_no_other(filled: Any) -> None:
    chosen = ServerSettings(allowed_hosts=("models.example.org",))
    app = create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager())
    for host, status in [("models.example.org", 200), ("MODELS.example.org:443", 200), ("a.models.example.org", 403)]:
        assert app.test_client().get("/health", headers={"Host": host}).status_code == status
    behind_a_proxy = {"Host": "models.example.org", "Origin": "https://models.example.org"}
    assert app.test_client().get("/api/v2/runs", headers=behind_a_proxy).status_code == 200
    behind_a_proxy["Origin"] = "https://other.example.org"
    assert app.test_client().get("/api/v2/runs", headers=behind_a_proxy).status_code == 403


def test_t11_a_request_without_a_host_or_with_two_is_refused(live: Any) -> None:
    for head in (
        "",
        "Host: 127.0.0.1\r\nHost: evil.example\r\n",
        "Host: evil.example\r\nX-Forwarded-Host: localhost\r\n",
    ):
        for version in ("1.0", "1.1"):
            answer = raw(live.server, f"GET /health HTTP/{version}\r\n{head}Connection: close\r\n\r\n".encode())
            assert answer.split(b" ", 2)[1] in (b"400", b"403"), (head, answer)
    answer = raw(live.server, request_bytes("http://127.0.0.1/health", "evil.example"))
    assert answer.split(b" ", 2)[1] == b"403"


FOREIGN_ORIGINS = [
    "http://evil.example",
    "https://evil.example",
    "null",
    "http://127.0.0.1",
    "http://127.0.0.1:5001",
    "http://localhost:5000",
    "http://127.0.0.1:5000.evil.example",
    "http://127.0.0.1:5000@evil.example",
    "file://",
    "chrome-extension://127.0.0.1:5000",
    "http://[::1",
    "",
]


def test_t11_a_foreign_origin_is_refused_on_reads_writes_and_event_streams(client: Any, filled: Any) -> None:
    requests = [
        ("GET", "/api/v2/runs", None),
        ("GET", "/api/v2/events", None),
        ("GET", "/", None),
        ("POST", "/api/v2/series", {"series": []}),
        ("PATCH", f"/api/v2/runs/{filled.run_id}", {"name": "pwned"}),
        ("OPTIONS", "/api/v2/runs", None),
    ]
    for origin, (method, path, body) in itertools.product(FOREIGN_ORIGINS, requests):
        response = client.request(method, path, headers={"Origin": origin, "X-ModelDB": "1"}, json=body)
        assert response.status_code == 403, (origin, method, path)
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
    assert filled.store.get("run", filled.run_id).name == "first"


def test_t11_the_own_origin_is_welcome(client: Any, filled: Any) -> None:
    headers = {"Origin": BASE, "Sec-Fetch-Site": "same-origin", "X-ModelDB": "1"}
    assert client.request("GET", "/api/v2/runs", headers=headers).status_code == 200
    response = client.request("PATCH", f"/api/v2/runs/{filled.run_id}", json={"name": "x"}, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_t11_what_a_foreign_page_embeds_is_refused_and_what_it_links_to_is_shown(
    client: Any, filled: Any, site: str
) -> None:
    path = f"/api/v2/runs/{filled.run_id}/artifacts?path=plots/confusion.png"
    for mode, destination in [("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe"), ("cors", "empty")]:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
        assert client.request("GET", path, headers=headers).status_code == 403
    linked = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.request("GET", path, headers=linked).status_code == 200
    assert client.request("POST", "/api/v2/series", json={"series": []}, headers=linked).status_code == 403


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonp",
        "application/json-patch+json",
        "text/json",
    ],
)
def test_t12_a_change_needs_a_body_of_a_type_that_no_form_can_send(
    client: Any, filled: Any, content_type: str | None
) -> None:
    for route in routes():
        if route.method == "GET":
            continue
        headers = {"X-ModelDB": "1"} | ({"Content-Type": content_type} if content_type else {})
        response = client.request(
            route.method, concrete(route.path, filled), data=b'{"name": "pwned"}', headers=headers
        )
        assert (response.status_code, response.json["error"]["code"]) == (415, "unsupported_media_type"), route.name
    assert filled.store.get("run", filled.run_id).name == "first"


def test_t12_a_change_needs_the_header_that_no_form_can_send(client: Any, filled: Any) -> None:
    for route in routes():
        if route.policy is Policy.WRITE:
            for headers in ({}, {"X-ModelDB": "0"}, {"X-Requested-With": "XMLHttpRequest"}):
                sent = {"data": b"{}", "content_type": route.body_type, "headers": headers}
                response = client.request(route.method, concrete(route.path, filled), **sent)
                assert (response.status_code, response.json["error"]["code"]) == (403, "permission_denied")
    charset = {"Content-Type": "application/json; charset=utf-8", "X-ModelDB": "1"}
    path = f"/api/v2/runs/{filled.run_id}"
    assert client.request("PATCH", path, data=b'{"name": "x"}', headers=charset).status_code == 200


def test_t12_a_method_cannot_be_smuggled(client: Any, filled: Any) -> None:
    headers = {"X-HTTP-Method-Override": "PATCH", "X-ModelDB": "1"}
    response = client.request(
        "POST", f"/api/v2/runs/{filled.run_id}?_method=PATCH", json={"name": "x"}, headers=headers
    )
    assert response.status_code == 405
    assert client.request("GET", f"/api/v2/runs/{filled.run_id}", headers=headers).json["name"] == "first"


# -- T13 to T18 what is stored stays data -----------------------------------------------------------------------------

MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "{{7*7}}${7*7}#{7*7}<%= 7*7 %>{% for x in y %}",
    "$HOME ${PATH} %PATH% $(id) `id` ;id |id &id",
    "{0.__class__.__mro__} %(secret)s %s%n",
    "${jndi:ldap://127.0.0.1/a}",
    "'; DROP TABLE entities; --",
    "__import__('os').system('id')",
]


def test_t13_t14_t16_text_comes_back_as_it_was_and_makes_nothing_happen(
    client: Any, filled: Any, tmp_path: Path
) -> None:
    path = f"/api/v2/runs/{filled.run_id}"
    for text in MARKUP:
        filled.writer.update("run", filled.run_id, set={"name": text, "attributes": {text: text}, "tags": [text]})
        filled.apply()
        with watching() as events:
            run = client.get(path)
            comment = client.send("POST", "/api/v2/comments", {"parent_id": filled.run_id, "message": text}, 201)
            renamed = client.send("PATCH", path, {"description": text})
            found = client.get("/api/v2/runs", filter=f"name = {json.dumps(text)}")
        assert_harmless(events, tmp_path)
        key = f"${text}" if text.startswith("$") else text
        assert (run["name"], run["attributes"], run["tags"]) == (text, {key: text}, [text])
        assert (comment["message"], renamed["description"]) == (text, text)
        assert [item["entity_id"] for item in found["items"]] == [filled.run_id]


def test_t15_no_answer_that_repeats_input_is_markup(client: Any) -> None:
    paths = ("/{}", "/api/v2/{}", "/api/v2/runs?filter={}", "/api/v2/runs?{}=1", "/api/v2/runs?order_by={}")
    for text, path in itertools.product(MARKUP, paths):
        headers = {"Accept": "text/html", "Content-Type": "text/html"}
        response = client.request("GET", path.format(quote(text, safe="")), headers=headers)
        is_page = path == "/{}"  # that says that there is nothing, without what was asked for
        assert response.mimetype in (("text/html",) if is_page else ("application/json",)), path
        assert not is_page or text not in response.text
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_t15_uploads_never_come_as_something_that_runs(client: Any, filled: Any) -> None:
    for index, name in enumerate(
        ["a.html", "a.svg", "a.xhtml", "a.xml", "a.js", "a.pdf", "a.htm", "a.mht", "a.swf", "a.md", "a"]
    ):
        filled.add_artifact(
            name, b"<html><script>alert(1)</script>%d" % index, media_type="text/html" if index % 2 else ""
        )
        response = client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts?path={name}")
        assert response.mimetype in ("application/octet-stream", "text/plain")
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["Content-Security-Policy"].startswith("sandbox;")
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        preview = client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts/preview?path={name}")
        assert preview.mimetype == "application/json"


class _Payload:
    def __reduce__(self) -> Any:
        return subprocess.run, (["true"],)


def test_t17_nothing_is_unpickled_or_unpacked(client: Any, filled: Any, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(tmp_path / "secret.txt", "../../escaped.txt")
    contents = {
        "model.joblib": pickle.dumps(_Payload()),
        "model.pt": pickle.dumps(_Payload(), 2),
        "x.tar.gz": archive.getvalue(),
    }
    for name, content in contents.items():
        filled.add_artifact(name, content, media_type="text/csv" if name == "model.pt" else "", type="model")
        with watching() as events:
            assert client.get(f"/api/v2/runs/{filled.run_id}/artifacts/preview?path={name}")["view"] in (
                "none",
                "text",
                "table",
            )
            assert client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts?path={name}").data == content
        assert_harmless(events, tmp_path)
    assert not list(tmp_path.rglob("escaped.txt"))


# -- T19 to T23 limits ------------------------------------------------------------------------------------------------


MANY = {
    "log_metrics.points": 100_000,
    "log_series.values": 100_000,
    "log_series.steps": 100_000,
    "log_series.times": 100_000,
    "find_stored_entities.fields": 20_000,
    "digest_order.streams": 100_000,
    "edit_runs.run_ids": 10_000,
    "join_blob.parts": 10_000,
    "apply_staged_changes.parts": 10_000,
    "add_version.parts": 10_000,
    "create_dataset_version.parts": 10_000,
}
"""Lists that need to be longer; the body has its limit all the same."""


def test_t19_every_text_list_and_number_of_the_api_has_a_limit() -> None:
    for route in routes():
        for item in itertools.chain.from_iterable((field, *field.items) for field in (*route.parameters, *route.body)):
            assert item.max_length <= 100_000
            most = 20_000 if item.type == "object" else 500  # values in one map
            most = MAX_CONTAINERS if item.name == "within" else most
            assert item.max_items <= MANY.get(f"{route.name}.{item.name}", most)
            if item.name == "limit":
                longest = 10_000 if route.name.startswith("read_lineage_") else 1000
                assert item.maximum <= {"find_keys": 20_000, "find_stored_keys": 100_000, "read_heads": 10_000}.get(
                    route.name, longest
                )
        assert (route.max_body_bytes or 2**20) < 8 * 2**20, "more than waitress holds in memory"


def test_t19_a_body_is_limited_in_length_and_depth(client: Any, filled: Any) -> None:
    headers = {"X-ModelDB": "1", "Content-Type": "application/json"}
    path = f"/api/v2/runs/{filled.run_id}"
    bodies = [
        (b'{"name": "' + b"x" * 2**20 + b'"}', 413),
        (b"[" * 100_000, 400),
        (b"[" * 500 + b"]" * 500, 400),
        (b'{"name":' * 30 + b"1" + b"}" * 30, 400),
        (b'{"name": ' + b"9" * 100_000 + b"}", 400),
        (b'{"name": "' + b"x" * 1025 + b'"}', 400),
        (b"{" + b",".join(b'"%d":1' % index for index in range(50_000)) + b"}", 400),
    ]
    for body, status in bodies:
        response = client.request("PATCH", path, data=body, headers=headers)
        assert response.status_code == status, body[:40]
        assert len(response.data) < 2000
    assert filled.store.get("run", filled.run_id).name == "first"


def test_t19_headers_and_bodies_of_any_size_are_cut_off_early(live: Any) -> None:
    huge = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"
    assert raw(live.server, huge).split(b" ", 2)[1:2] in ([], [b"400"], [b"431"])
    head = "PATCH /api/v2/runs/x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-ModelDB: 1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
    assert raw(live.server, head.format(10**12).encode()).split(b" ", 2)[1] == b"413"
    chunked = head.replace("Content-Length: {}", "Transfer-Encoding: chunked").encode()
    chunked += b"200000\r\n" + b"x" * 0x200000 + b"\r\n0\r\n\r\n"
    assert raw(live.server, chunked).split(b" ", 2)[1] == b"413"
    assert raw(live.server, head.format(2**21).encode() + b"x" * 2**21).split(b" ", 2)[1] == b"413"
    assert live.get("/health")[0].status == 200


def test_t19_expressions_that_explode_are_refused(client: Any) -> None:
    texts = [
        "(" * 5000,
        "not " * 5000,
        "name = 'a' or " * 1500 + "name = 'b'",
        "x" * 20_001,
        "((((" * 2000 + "))))" * 2000,
    ]
    for text in texts:
        response = client.request("GET", "/api/v2/runs", query_string={"filter": text})
        assert response.status_code in (200, 400), text[:20]
        assert len(response.data) < 50_000


def test_t20_names_that_look_alike_are_one(client: Any, filled: Any) -> None:
    path = f"/api/v2/runs/{filled.run_id}/tags"
    client.send("POST", path, {"add": [unicodedata.normalize("NFC", "é")]})
    assert client.send("POST", path, {"add": [unicodedata.normalize("NFD", "é")]})["tags"] == ["baseline", "é"]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('id')",
        "name.__class__.__mro__",
        "exec('x')",
        "lambda: 0",
        "[x for x in ().__class__.__bases__]",
        "metrics.auc > 0; DROP TABLE entities",
        "name = 'a' UNION SELECT 1",
        "1 = 1",
        "sleep(10)",
        "name = 'x' -- comment",
        "metrics.auc > (select 1)",
    ],
)
def test_t21_code_is_not_a_query(client: Any, filled: Any, tmp_path: Path, text: str) -> None:
    with watching() as events:
        for name in ("filter", "order_by"):
            response = client.request("GET", "/api/v2/runs", query_string={name: text})
            assert (response.status_code, response.json["error"]["code"]) == (400, "query_syntax")
    assert_harmless(events, tmp_path)
    assert len(client.get("/api/v2/runs")["items"]) == 2


@pytest.fixture
def narrow(filled: Any) -> Iterator[Server]:
    """A server with two threads, which gives up on a client that takes nothing for a second."""
    chosen = ServerSettings(port=0, threads=1, max_event_streams=1, send_timeout_s=1)
    server = Server(create_app(filled.store, filled.artifacts, chosen, plugins=PluginManager()))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    assert server.wait(30)
    thread.join(30)


def ask(server: Server, path: str) -> bytes:
    return raw(server, request_bytes(path))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts off clients that take nothing")
def test_t22_clients_that_do_not_read_do_not_block_others(narrow: Server, filled: Any) -> None:
    filled.add_artifact("large.bin", b"\0" * (32 << 20))
    stuck = []
    for _ in range(2):  # as many as there are threads
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((narrow.host, narrow.port))
        connection.sendall(request_bytes(f"/api/v2/runs/{filled.run_id}/artifacts?path=large.bin"))
        assert connection.recv(100)
        stuck.append(connection)
    assert b'{"status":"ok"}' in ask(narrow, "/health")
    for connection in stuck:
        connection.close()


def test_t22_clients_that_send_slowly_do_not_block_others(narrow: Server) -> None:
    slow = []
    for start in (
        b"",
        b"GET ",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
    ):
        for _ in range(10):
            connection = socket.create_connection((narrow.host, narrow.port), 30)
            connection.sendall(start)
            slow.append(connection)
    assert b'{"status":"ok"}' in ask(narrow, "/health")
    for connection in slow:
        connection.close()


def test_t23_a_request_cannot_name_a_method_class_or_kind_of_the_program(client: Any) -> None:
    for kind in ("tokens", "users", "streams", "entity", "__class__", "runs.json", "Run", "close"):
        assert client.request("GET", f"/api/v2/{kind}").status_code == 404
        assert client.request("GET", f"/api/v2/{kind}/x").status_code == 404
    for kind in ("token", "user", "__class__", ""):
        assert client.request("GET", "/api/v2/keys", query_string={"kind": kind}).status_code == 400


# -- T25 to T30 the framework -----------------------------------------------------------------------------------------


def test_t25_debugging_is_off_whatever_the_environment_says(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLASK_DEBUG", "WERKZEUG_DEBUG_PIN", "FLASK_TESTING", "FLASK_PROPAGATE_EXCEPTIONS"):
        monkeypatch.setenv(name, "1")
    app = create_app(filled.store, filled.artifacts, plugins=PluginManager())
    assert (app.debug, app.testing, app.config["PROPAGATE_EXCEPTIONS"]) == (False, False, False)
    for path in ("/console", "/?__debugger__=yes&cmd=resource&f=style.css"):
        assert app.test_client().get(path, base_url=BASE).status_code == 404


def test_t26_there_are_no_sessions_and_no_cookies(app: Flask, client: Any, filled: Any) -> None:
    assert app.secret_key is None
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and not rule.rule.endswith("/events"):
            assert "Set-Cookie" not in client.request("GET", concrete(rule.rule, filled)).headers


def test_t27_answers_are_not_kept_by_caches(app: Flask, client: Any, filled: Any) -> None:
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and not rule.rule.endswith("/events"):
            response = client.request("GET", concrete(rule.rule, filled))
            assert response.headers["Cache-Control"] == "no-store", rule.rule
    artifact = client.request("GET", f"/api/v2/runs/{filled.run_id}/artifacts?path=notes.txt")
    assert artifact.headers["Cache-Control"] == "private, no-cache, no-transform"


def test_t27_every_answer_carries_the_headers(app: Flask, client: Any, filled: Any) -> None:
    paths = [concrete(rule.rule, filled) for rule in app.url_map.iter_rules() if not rule.rule.endswith("/events")]
    for path in [*paths, "/nothing", f"/api/v2/runs/{filled.run_id}/artifacts?path=notes.txt"]:
        headers = client.request("GET", path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_t28_forms_are_never_parsed(client: Any, filled: Any) -> None:
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f%d"; filename="f"\r\n\r\nx\r\n' % i for i in range(2000)
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x", "X-ModelDB": "1"}
    with watching() as events:
        response = client.request("POST", "/api/v2/comments", data=parts + b"--x--\r\n", headers=headers)
    assert response.status_code == 415
    assert not [event for event, _ in events if event.startswith("tempfile")]


_STRANGE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [*TRAVERSALS, *URIS, *MARKUP, "-1", "0", "1", "1e9", "nan", "null", "true", "[]", "{}", "'", '"', "`"]
    ),
    st.integers().map(str),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_t30_no_question_makes_the_server_fail(client: Any, filled: Any, data: st.DataObject) -> None:
    route = data.draw(st.sampled_from([route for route in routes() if route.name != "follow_changes"]))
    path = route.path
    for variable in re.findall(r"<\w+>", path):
        path = path.replace(
            variable, data.draw(st.sampled_from([filled.run_id, "x"]) | _STRANGE.map(lambda t: quote(t, safe="")))
        )
    names = [item.name for item in route.parameters]
    query = {name: data.draw(_STRANGE) for name in names if data.draw(st.booleans())}
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | _STRANGE,
        lambda inner: st.lists(inner) | st.dictionaries(_STRANGE, inner),
        max_leaves=5,
    )
    body = {item.name: data.draw(values) for item in route.body if data.draw(st.booleans())} if route.body else None
    response = client.request(route.method, path, query_string=query, json=body, headers={"X-ModelDB": "1"})
    assert response.status_code < 500, (route.name, path, query, body, response.text)


def test_t30_errors_say_nothing_of_paths_environment_or_code(
    app: Flask, client: Any, filled: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> str:
        msg = f"{tmp_path}/modeldb.db is broken, password=hunter2"
        raise RuntimeError(msg)

    def unavailable() -> str:
        msg = f"{tmp_path}/modeldb.db cannot be opened"
        raise StoreUnavailableError(msg)

    for name, view in (("fail", fail), ("unavailable", unavailable)):
        app.add_url_rule(f"/api/v2/{name}", name, view)
        app.extensions[POLICIES][name] = Policy.READ
    for name in ("fail", "unavailable"):
        response = client.request("GET", f"/api/v2/{name}")
        assert response.status_code in (500, 503)
        for word in (str(tmp_path), "hunter2", "Traceback", "RuntimeError", ".py", "sqlite"):
            assert word not in response.text
        number = response.json["error"]["message"].rpartition(" ")[2].rstrip(".)")
        assert number in caplog.text
        assert str(tmp_path) in caplog.text


def test_t30_the_answers_of_a_store_do_not_name_its_place(client: Any, filled: Any, tmp_path: Path) -> None:
    filled.artifacts.delete(filled.blobs["notes.txt"])
    paths = [
        "/api/v2/server",
        "/api/v2/runs/none",
        "/api/v2/runs?cursor=x",
        f"/api/v2/runs/{filled.run_id}/series?key=none",
        f"/api/v2/runs/{filled.run_id}/artifacts?path=notes.txt",
        f"/api/v2/runs/{filled.run_id}/artifacts/preview?path=notes.txt",
        "/health",
        "/metrics",
    ]
    for path in paths:
        assert str(tmp_path) not in client.request("GET", path).text, path


def test_t30_the_server_does_not_tell_its_versions(live: Any) -> None:
    headers = live.get("/health")[0].headers
    assert headers["Server"] == "ModelDB"
    assert "X-Powered-By" not in headers
    assert b"waitress" not in raw(live.server, b"NONSENSE\r\n\r\n").lower().replace(b"generated by waitress", b"")
