"""A corpus of hostile paths, names, archives, bodies and headers against one server; accounts and archives of T07 to T29."""

from __future__ import annotations

import ast
import http.client
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from modeldb_core.errors import InvalidArgumentError, ModelDBError
from modeldb_core.model.schema import KINDS
from modeldb_core.movement.bundles import Bundle
from modeldb_server import Server, ServerSettings, accounts, create_app, tokens
from modeldb_server.accounts.secrets import Passwords, check_password, new_token
from tests.server.test_accounts import ADMIN, PASSWORD, Team, basic
from tests.server.test_accounts import place as place  # fixtures, this one and the next
from tests.server.test_accounts import team as team
from tests.server.test_security import MARKUP, SECRET, TRAVERSALS, URIS

HERE = Path(__file__).parents[1]
LEAKS = re.compile(r"Traceback|/site-packages/|File \"/|sqlalchemy|werkzeug|" + re.escape(SECRET))
NAMES = [
    *MARKUP,
    "CON",
    "a" * 5000,
    "\u202egnp.exe",
    "a\u0000b",
    "line\r\nX-Injected: 1",
    "\ud800",
    "Ａdmin",
    "-rf",
    "=HYPERLINK(1)",
    "[x](javascript:alert(1))",
    "![x](http://127.0.0.1:1/x)",
    "<math><mtext></mtext></math><img src onerror=alert(1)>",
    '"><iframe srcdoc="<script>alert(1)</script>">',
]
BODIES: list[tuple[str, bytes]] = [
    ("application/json", b""),
    ("application/json", b"null"),
    ("application/json", b"[]"),
    ("application/json", b'"' + b"x" * 1000 + b'"'),
    ("application/json", b"{" * 5000),
    ("application/json", b"[" * 100_000),
    ("application/json", b'{"a":' * 2000 + b"1" + b"}" * 2000),
    ("application/json", b'{"name": 1' + b"0" * 5000 + b"}"),
    ("application/json", b'{"name": NaN, "id": Infinity}'),
    ("application/json", b'{"name": "\\ud800", "__proto__": {"a": 1}, "$where": "1"}'),
    ("application/json", b'\xff\xfe{"name": "x"}'),
    ("application/json", b'{"id": {"$gt": ""}, "name": ["a"], "entity_ids": "x", "tags": 7}'),
    ("application/xml", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'),
    ("application/x-www-form-urlencoded", b"name=x&id=1"),
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--'),
    ("application/x-python-pickle", b"cos\nsystem\n(S'true'\ntR."),
]
HEADERS = [
    {"Range": "bytes=" + ",".join(f"{number}-" for number in range(2000))},
    {"Range": "bytes=-1,0-0,99999999999999999999-"},
    {"If-None-Match": '"' * 3000},
    {"Accept": "text/html;q=" + "9" * 500},
    {"Accept-Encoding": ",".join(["gzip;q=0.1"] * 500)},
    {"Accept-Language": "../../../../etc/passwd"},
    {"Authorization": "Basic " + "A" * 5000},
    {"Authorization": "Bearer " + "\xff" * 100},
    {"Authorization": "Digest username=x"},
    {"Cookie": "modeldb=" + "x" * 3000},
    {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "evil.example.org", "X-Original-URL": "/metrics"},
    {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "PUT"},
    {"Content-Length": "-1"},
    {"Transfer-Encoding": "chunked, identity"},
    {"Idempotency-Key": "../../x"},
    {"Grpc-Metadata-developer_key": "'; DROP TABLE x; --", "Grpc-Metadata-source": "PythonClient"},
]


@pytest.fixture
def whole(filled: Any, tmp_path: Path) -> Iterator[Flask]:
    """An application with everything that is installed: pages, the v1 API."""
    (tmp_path / "secret.txt").write_text(SECRET)
    app = create_app(filled.store, filled.artifacts, ServerSettings(port=0, poll_interval_s=0.02))
    yield app
    app.extensions["modeldb_server"].close()


def rules(app: Flask) -> Iterator[tuple[str, str, list[str]]]:
    """Iterate over the method, the rule and the names of the variables of every route but event streams."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if "events" not in rule.rule:
                yield method, rule.rule, sorted(rule.arguments)


def filled_in(rule: str, value: str) -> str:
    return re.sub(r"<[^>]*>", lambda _: value, rule)


def ask(app: Flask, method: str, path: str, **options: Any) -> Any:
    headers = {"X-ModelDB": "1", **options.pop("headers", {})}
    return app.test_client().open(path, method=method, base_url="http://127.0.0.1:5000", headers=headers, **options)


def check(answer: Any, what: object) -> None:
    assert answer.status_code < 500 or answer.status_code in (501, 503), (what, answer.status_code, answer.text[:300])
    assert answer.headers["X-Content-Type-Options"] == "nosniff", what
    if answer.mimetype in ("application/json", "text/html", "text/plain"):
        assert not LEAKS.search(answer.text), (what, answer.text[:500])


def test_every_number_has_a_test_that_bears_its_name() -> None:
    found = {
        number
        for path in HERE.rglob("test_*.py")
        for name in re.findall(r"^def test_((?:t\d\d_)+)", path.read_text("utf-8"), re.MULTILINE)
        for number in name.strip("_").split("_")
    }
    assert found == {f"t{number:02}" for number in range(1, 31)}


def test_every_route_refuses_bodies_that_nobody_can_mean(whole: Flask, filled: Any) -> None:
    writing = [(method, filled_in(rule, filled.run_id)) for method, rule, _ in rules(whole) if method != "GET"]
    assert len(writing) > 50
    before = len(filled.store.read_changes(limit=100_000).changes)
    for number, (method, path) in enumerate(writing):
        for content_type, body in BODIES[number % 4 :: 4]:
            answer = ask(whole, method, path, data=body, content_type=content_type)
            check(answer, (method, path, body[:30]))
    made = filled.store.read_changes(limit=100_000).changes[before:]
    assert {change.kind for change in made} <= {*KINDS, "stream"}


def test_every_path_that_names_something_takes_hostile_text_for_a_name_that_is_not_there(
    whole: Flask, filled: Any
) -> None:
    hostile = [*TRAVERSALS, *URIS, *NAMES[len(MARKUP) :]]
    reading = [rule for method, rule, variables in rules(whole) if method == "GET" and variables]
    assert len(reading) > 20
    for number, rule in enumerate(reading):
        for text in hostile[number % 7 :: 7]:
            path = filled_in(rule, text.encode("utf-8", "surrogatepass").decode("latin-1"))
            path = "".join(char if char.isascii() and char > " " else "%3F" for char in path)
            check(ask(whole, "GET", path), path)


def test_hostile_names_come_back_as_they_were_or_are_refused(whole: Flask, filled: Any) -> None:
    for text in NAMES:
        if "\ud800" in text:
            continue  # JSON cannot carry half of a pair; among the bodies it is
        for path, body in (
            ("/api/v2/projects", {"name": text}),
            ("/api/v1/modeldb/project/createProject", {"name": text, "description": text, "tags": [text[:40]]}),
            ("/api/v2/comments", {"parent_id": filled.run_id, "message": text}),
        ):
            answer = ask(whole, "POST", path, json=body)
            check(answer, (path, text[:40]))
            assert answer.mimetype == "application/json"
            if answer.status_code in (200, 201) and path == "/api/v2/projects":
                assert answer.json["name"] in (text, text.strip()) or answer.json["name"].isprintable()
    for page in ("/", "/projects"):
        text = ask(whole, "GET", page, headers={"Accept": "text/html"}).text
        assert "<script>alert" not in text
        assert "onerror=alert(1)>" not in text.replace("&gt;", "")


def test_hostile_headers_reach_nothing(whole: Flask, filled: Any) -> None:
    server = Server(whole)
    import threading

    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        for headers in HEADERS:
            for path in (f"/api/v2/runs/{filled.run_id}/artifacts?path=notes.txt", "/", "/api/v2/runs"):
                connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
                try:
                    connection.putrequest("GET", path)
                    for name, value in headers.items():
                        connection.putheader(name, value.encode("latin-1"))
                    connection.endheaders()
                    answer = connection.getresponse()
                    text = answer.read().decode("latin-1")
                except (http.client.HTTPException, ConnectionError):
                    continue  # it was cut off
                finally:
                    connection.close()
                assert answer.status < 500 or answer.status == 501, (headers, answer.status)
                assert not LEAKS.search(text), headers
                assert answer.getheader("X-Injected") is None
    finally:
        server.stop()
        thread.join(60)
    assert not thread.is_alive()


# -- T07, T08, T24, T29: accounts -----------------------------------------------------------------------------------------


def test_t07_nobody_is_made_a_user_without_having_signed_in_whatever_the_body_is(team: Team) -> None:
    before = len(team.accounts.directory().users)
    for method, rule, _ in rules(team.app):
        if method != "GET":
            for content_type in ("application/json", "text/plain", "multipart/form-data", "application/xml", ""):
                answer = team.ask(filled_in(rule, "x"), method, data=b'{"name": "eve"}', content_type=content_type)
                assert answer.status_code in (401, 429) or _is_public(team.app, rule, method), (method, rule)
    assert len(team.accounts.directory().users) == before


def _is_public(app: Flask, rule: str, method: str) -> bool:
    from modeldb_server.routes import Policy
    from modeldb_server.security import POLICIES

    endpoint = next(each.endpoint for each in app.url_map.iter_rules() if each.rule == rule and method in each.methods)
    return app.extensions[POLICIES][endpoint] is Policy.PUBLIC


def test_t07_no_account_has_a_secret_that_can_be_guessed() -> None:
    for password in ("", "password", "admin", "aaaaaaaaaaaaaaaa", "abababababababab", "the-name-of-user", "x" * 5000):
        with pytest.raises(InvalidArgumentError):
            check_password(password, user="the-name-of-user")
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) > 40


def test_t08_a_server_with_accounts_has_no_default_credentials(team: Team) -> None:
    for name, secret in (("admin", "admin"), ("admin", ""), ("", ""), ("modeldb", "modeldb"), (ADMIN, ADMIN)):
        assert team.ask("/api/v2/runs", headers=basic(name, secret)).status_code == 401, (name, secret)


def test_t24_passwords_are_kept_as_salted_slow_hashes_and_tokens_as_digests(team: Team) -> None:
    passwords = Passwords()
    one, other = passwords.hash(PASSWORD), passwords.hash(PASSWORD)
    assert one.startswith("$argon2id$")
    assert one != other, "each has a salt of its own"
    assert not passwords.is_right(f"{PASSWORD}!", one)
    user = team.add_user("ada")
    (token,) = team.accounts.vault.tokens_of(user.entity_id)
    assert team.tokens["ada"] not in repr(token)


def test_t29_no_secret_is_compared_in_a_time_that_tells_of_it() -> None:
    """Secrets are compared by hmac.compare_digest, or looked up by their digest; never by == with what was shown."""
    secret = re.compile(r"token|secret|password|shown|signature", re.IGNORECASE)
    folders = [Path(str(accounts.__file__)).parent, Path(str(tokens.__file__))]
    paths = [path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.py"))]
    compared = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
                names = [ast.unparse(each).rpartition(".")[2] for each in (node.left, *node.comparators)]
                if any(map(secret.search, names)) and not any(name == "''" for name in names):
                    compared.append((path.name, ast.unparse(node)))
    columns = [each for each in compared if ".c." in each[1]]  # conditions of SQL: digests in an index
    assert [each for each in compared if each not in columns] == []


# -- T18: archives -----------------------------------------------------------------------------------------------------


def archive(*members: tarfile.TarInfo, mode: str = "w", content: bytes = b"modeldb-bundle-1\n") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return data.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize(
    "data",
    [
        archive(member("../../escaped")),
        archive(member("/etc/cron.d/x")),
        archive(member("format"), member("blobs/../../escaped")),
        archive(member("format"), member("blobs/" + "0" * 64, tarfile.SYMTYPE, "/etc/passwd")),
        archive(member("format"), member("blobs/" + "0" * 64, tarfile.LNKTYPE, "format")),
        archive(member("format", tarfile.CHRTYPE)),
        archive(member("format", tarfile.FIFOTYPE)),
        archive(member("format"), member("blobs", tarfile.DIRTYPE)),
        archive(member("format"), mode="w:gz"),
        archive(member("format"), mode="w:xz"),
        archive(member("format"))[:512] + bytes(1024),
        archive(member("format")).replace(b"00000000021", b"77777777777"),
        b"PK\x03\x04" + bytes(500),
        bytes(2048),
        b"",
    ],
)
def test_t18_an_archive_is_never_unpacked_to_where_it_says(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "inner" / "x.bundle"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(ModelDBError) as caught:
        Bundle(path)
    assert len(str(caught.value)) < 2000
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["inner", "x.bundle"]
