"""The stores on a server pass the suites, and keep what they promise about tokens, forks, errors and long data."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import logging
import os
import socket
import ssl
import subprocess
import threading
import warnings
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import modeldb_core as modeldb
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.remote import address as addresses
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.errors import (
    ConfigurationError,
    ConflictError,
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    ModelDBWarning,
    NotFoundError,
    PermissionDeniedError,
    QuerySyntaxError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreVersionError,
    StreamGapError,
)
from modeldb_core.plugins import load_settings, open_artifacts, open_store
from modeldb_core.queries import Query
from modeldb_core.stores import protocol
from modeldb_core.testing import ArtifactStoreTests, MetadataStoreTests, StreamWriter
from modeldb_core.trees import TreeStore
from modeldb_server import ServerSettings
from tests.services.processes import free_port
from tests.services.server import READ_TOKEN, TOKEN, ModelDBServer, serving, serving_folder
from tests.waiting import wait_until

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
CLOSED = ServerSettings(port=0, actor="tester", tokens=(TOKEN,), read_tokens=(READ_TOKEN,))
SOON = {"retry_s": 0.2, "timeout_s": 1.0, "connect_timeout_s": 1.0}


@pytest.fixture
def url(tmp_path):
    with serving_folder(tmp_path) as url:
        yield url


class TestRemoteOnSQLite(MetadataStoreTests):
    @pytest.fixture
    def process_url(self, url):
        return url

    @pytest.fixture
    def make_store(self, process_url):
        return lambda: RemoteMetadataStore(process_url)


@pytest.mark.thorough
class TestRemoteOnPostgres(MetadataStoreTests):
    @pytest.fixture
    def process_url(self, postgres_url, tmp_path):
        with open_store(postgres_url) as store, serving(store, FsspecArtifactStore(f"file://{tmp_path}/b")) as url:
            yield url

    @pytest.fixture
    def make_store(self, process_url):
        return lambda: RemoteMetadataStore(process_url)


class TestRemoteArtifactStore(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, url, tmp_path):
        self.folder = tmp_path
        return lambda: RemoteArtifactStore(url)

    def damage(self, store, digest, content):
        (path,) = Path(self.folder).rglob(digest)
        path.chmod(0o600)
        path.write_bytes(content)


def a_run(name="run", **fields):
    """Return the changes that make a run, and its identifier."""
    writer = StreamWriter()
    writer.open()
    return writer, writer.create_run(name=name, **fields).entity_id


# Long data


@pytest.fixture
def small_parts(monkeypatch):
    """Let everything be sent in parts of 64 KiB."""
    monkeypatch.setattr(protocol, "PART_BYTES", 1 << 16)


def test_a_batch_too_long_for_a_request_is_applied_whole_or_not_at_all(url, tmp_path, small_parts):
    writer, run_id = a_run()
    noise = np.random.default_rng(0)
    for _ in range(5):
        writer.append(run_id, {"loss": noise.random(20_000).tolist()})
    with RemoteMetadataStore(url) as store:
        store.apply(writer.changes)
        assert store.read_series(run_id, "loss").total == 100_000
        other, _ = a_run()
        other.append(run_id, {"more": noise.random(50_000).tolist()})
        rival = StreamWriter(writer.stream_id)
        rival.open(lease_s=99)
        with pytest.raises(ConflictError):
            store.apply([*other.changes, *rival.changes])
        assert other.stream_id not in store.heads()
    assert list(FsspecArtifactStore(f"file://{tmp_path}/blobs").list()) == [], "the parts are gone"


def test_a_batch_too_long_for_a_server_says_so_and_sends_nothing():
    writer, run_id = a_run()
    changes = [writer.append(run_id, {"loss": np.zeros(1_000_000).tolist()})] * 20
    with pytest.raises(InvalidArgumentError, match="several"), RemoteMetadataStore("http://127.0.0.1:9") as store:
        store.apply(changes)


def test_pages_longer_than_an_answer_are_put_together(url, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_PAGE", 7)
    writer, _ = a_run()
    for number in range(29):
        writer.create_run(name=f"{number:02}")
    with RemoteMetadataStore(url) as store:
        store.apply(writer.changes)
        page = store.find(Query(order_by="name", limit=25, count=True))
        assert [run.name for run in page.entities] == [f"{number:02}" for number in range(25)]
        assert page.total == 30
        rest = store.find(Query(order_by="name", limit=25, cursor=page.cursor))
        assert [run.name for run in rest.entities] == ["25", "26", "27", "28", "run"]
        assert rest.cursor is None
        assert store.find(Query(limit=0, count=True)).total == 30
        assert list(store.read_changes().changes) == writer.changes
        assert list(store.read_changes(limit=20).changes) == writer.changes[:20]
        assert list(store.read_changes(after=20, limit=8).changes) == writer.changes[20:28]


def test_changes_with_long_payloads_come_in_several_answers(url, monkeypatch):
    from modeldb_server.handlers import store as handler

    monkeypatch.setattr(handler, "MAX_ANSWER_BYTES", 50_000)
    writer, run_id = a_run()
    for _ in range(5):
        writer.append(run_id, {"loss": np.zeros(3000).tolist()})
    with RemoteMetadataStore(url) as store:
        store.apply(writer.changes)
        assert list(store.read_changes(limit=6).changes) == writer.changes[:6]
        assert list(store.read_changes(stream_id=writer.stream_id).changes) == writer.changes


def test_an_upload_that_broke_off_goes_on_where_it_was(url, tmp_path, small_parts, monkeypatch):
    content = os.urandom(600_000)
    artifacts = RemoteArtifactStore(url)
    sent = []
    request = artifacts._connection.request

    def counted(method, path, *arguments, **options):
        if method == "PUT":
            sent.append(path)
            if len(sent) == 5:
                msg = "the process is killed here"
                raise KeyboardInterrupt(msg)
        return request(method, path, *arguments, **options)

    monkeypatch.setattr(artifacts._connection, "request", counted)
    with pytest.raises(KeyboardInterrupt):
        artifacts.put(io.BytesIO(content))
    assert artifacts.uploads.received(hashlib.sha256(content).hexdigest()) == 4 * protocol.PART_BYTES
    assert list(artifacts.list()) == [], "what has not arrived whole is not a blob"
    info = artifacts.put(io.BytesIO(content))
    assert len(sent) == 5 + 6, "of ten parts four were there"
    assert list(artifacts.list()) == [info]
    assert artifacts.open(info.digest).read() == content


def test_a_blob_that_is_there_is_not_sent_again_but_counts_as_young(url, tmp_path, monkeypatch):
    content = os.urandom(200_000)
    artifacts = RemoteArtifactStore(url)
    info = artifacts.put(io.BytesIO(content))
    (path,) = tmp_path.rglob(info.digest)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert artifacts.stat(info.digest).modified_at.year == 2001
    monkeypatch.setattr(artifacts, "_put_long", None)
    monkeypatch.setattr(artifacts, "_put_whole", None)
    assert artifacts.put(io.BytesIO(content)) == info
    assert artifacts.stat(info.digest).modified_at.year > 2001


def test_a_tree_goes_through_a_server_in_a_few_requests(url, monkeypatch):
    artifacts, asked = RemoteArtifactStore(url), []
    request = artifacts._connection.request

    def counted(method, path, *arguments, **options):
        asked.append(method)
        return request(method, path, *arguments, **options)

    monkeypatch.setattr(artifacts._connection, "request", counted)
    entries = {f"data/{number:06d}": {"size_bytes": number, "sha256": f"{number:064x}"} for number in range(8000)}
    tree = TreeStore(artifacts).build(entries)
    assert len(asked) <= 4, "some sixty leaves in one request, and the node above them"
    asked.clear()
    assert sum(1 for _ in TreeStore(artifacts).open(tree.root).items()) == 8000
    assert len(asked) <= 12
    asked.clear()
    TreeStore(artifacts).open(tree.root).edit({"data/004000": {}})
    assert len(asked) <= 7


class Bucket(FsspecArtifactStore):
    """A folder that says of its blobs where else they are."""

    place = ""

    def url_for(self, digest, *, expires_s=3600):
        return f"{self.place}/{digest}?signature=s3cret"


@pytest.mark.parametrize(("status", "altered"), [(200, False), (200, True), (403, False)])
def test_a_long_blob_comes_straight_from_the_bucket_and_else_from_the_server(tmp_path, status, altered, caplog):
    caplog.set_level(logging.DEBUG)
    content = os.urandom(2_000_000)
    body = b"x" * len(content) if altered else content
    bucket = Bucket(f"file://{tmp_path}/b")
    with (
        answering(status, body) as (port, requests),
        open_store(f"sqlite:///{tmp_path}/a.db") as store,
        serving(store, bucket, CLOSED) as url,
    ):
        bucket.place = f"http://127.0.0.1:{port}"
        artifacts = RemoteArtifactStore(url, token=TOKEN)
        info = artifacts.put(io.BytesIO(content))
        assert artifacts.url_for(info.digest) == f"{bucket.place}/{info.digest}?signature=s3cret"
        if altered:
            with pytest.raises(IntegrityError, match=info.digest):
                artifacts.open(info.digest).read()
        else:
            assert artifacts.open(info.digest).read() == content
        assert len(requests) == 1
        assert "Authorization" not in requests[0].headers
        bucket.place = "file:///etc/passwd"
        assert artifacts.url_for(info.digest) is None
        if not altered:
            assert artifacts.open(info.digest).read() == content
    assert "s3cret" not in caplog.text


def test_what_is_no_part_cannot_be_joined(url):
    artifacts = RemoteArtifactStore(url)
    info = artifacts.put(io.BytesIO(b"x" * 500))
    with pytest.raises(InvalidArgumentError, match="not part of another"):
        artifacts._connection.post_json(f"/blobs/{'0' * 64}", {"size_bytes": 1, "parts": [info.digest]})


# Tokens


@pytest.fixture
def closed_url(tmp_path):
    with serving_folder(tmp_path, CLOSED) as url:
        yield url


@pytest.mark.parametrize("store_class", [RemoteMetadataStore, RemoteArtifactStore])
def test_a_token_lets_one_in(closed_url, store_class):
    host = closed_url.removeprefix("http://")
    ask = {RemoteMetadataStore: lambda store: store.heads(), RemoteArtifactStore: lambda store: list(store.list())}
    for url, options in (
        (closed_url, {"token": TOKEN}),
        (f"http://:{TOKEN}@{host}", {}),
        (f"http://{TOKEN}@{host}", {}),
    ):
        store = store_class(url, **options)
        assert not ask[store_class](store)
        assert store.url == closed_url
        assert TOKEN not in repr(store) + repr(vars(store)) + repr(store._connection.address)
    for options, match in (({}, "MODELDB_TOKEN"), ({"token": "wrong-token-of-someone"}, "does not know the token")):
        with pytest.raises(PermissionDeniedError, match=match) as caught:
            ask[store_class](store_class(closed_url, **options))
        assert "wrong-token" not in str(caught.value)


def test_the_setting_reaches_both_stores(closed_url):
    settings = load_settings(url=closed_url, environ={"MODELDB_TOKEN": TOKEN})
    assert settings.artifact_url == closed_url
    with open_store(settings.url, settings) as store:
        store.apply(a_run()[0].changes)
    assert list(open_artifacts(settings.artifact_url, settings).list()) == []


def test_a_read_token_reads_and_no_more(closed_url):
    writer, run_id = a_run()
    with RemoteMetadataStore(closed_url, token=TOKEN) as store:
        store.apply(writer.changes)
    with RemoteMetadataStore(closed_url, token=READ_TOKEN) as store:
        assert store.get("run", run_id).name == "run"
        with pytest.raises(PermissionDeniedError, match="reading only"):
            store.apply(a_run()[0].changes)
    with pytest.raises(PermissionDeniedError, match="reading only"):
        RemoteArtifactStore(closed_url, token=READ_TOKEN).put(io.BytesIO(b"x"))


def test_who_sends_much_with_a_wrong_token_reads_that_it_is_wrong(closed_url):
    host, port = closed_url.removeprefix("http://").split(":")
    content = bytes(protocol.PART_BYTES)
    for _ in range(5):  # the answer comes while the client is still sending
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = {
            "Authorization": "Bearer wrong-token-of-someone",
            "Content-Type": protocol.BYTES_TYPE,
            protocol.WRITE_HEADER: "1",
        }
        connection.request("PUT", f"{protocol.PREFIX}/blobs/{'0' * 64}", content, headers)
        assert connection.getresponse().status == 401
        connection.close()
    with pytest.raises(PermissionDeniedError, match="does not know the token"):
        RemoteArtifactStore(closed_url, token="wrong-token-of-someone").put(io.BytesIO(content))


def test_a_read_only_server_refuses_changes(tmp_path):
    with serving_folder(tmp_path, ServerSettings(port=0, read_only=True)) as url, RemoteMetadataStore(url) as store:
        with pytest.raises(StoreReadOnlyError):
            store.apply(a_run()[0].changes)
        with pytest.raises(StoreReadOnlyError):
            RemoteArtifactStore(url).put(io.BytesIO(b"x"))
        assert store.heads() == {}


def test_a_token_over_plain_http_to_another_machine_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(addresses, "_warned", set())
    with pytest.warns(ModelDBWarning, match="clear text") as caught:
        RemoteMetadataStore("http://models.example.org", token=TOKEN)
        RemoteArtifactStore("http://models.example.org", token=TOKEN)
    assert len(caught) == 1
    assert TOKEN not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in ("http://127.0.0.1:5000", "http://localhost", "http://[::1]:5000", "https://models.example.org"):
            RemoteMetadataStore(url, token=TOKEN)
        RemoteMetadataStore("http://other.example.org")
    with pytest.warns(ModelDBWarning, match="not checked"):
        RemoteMetadataStore("https://models.example.org?verify=0")


def test_no_token_is_ever_logged(closed_url, caplog):
    caplog.set_level(logging.DEBUG)
    with RemoteMetadataStore(closed_url, token=TOKEN) as store:
        store.apply(a_run()[0].changes)
        with pytest.raises(NotFoundError):
            store.get("run", "none")
    with pytest.raises(PermissionDeniedError):
        RemoteMetadataStore(closed_url, token="wrong-token-of-someone").heads()
    assert TOKEN not in caplog.text
    assert "wrong-token" not in caplog.text


# URLs and options


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://Models.example.org/", "http://models.example.org"),
        ("https://models.example.org:443", "https://models.example.org"),
        ("http://models.example.org:8080/modeldb/?retry_s=3", "http://models.example.org:8080/modeldb"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_a_store_is_called_by_its_url_without_options(given, shown):
    assert RemoteMetadataStore(given).url == RemoteArtifactStore(given).url == shown


@pytest.mark.parametrize(
    ("url", "options", "match"),
    [
        ("http://", {}, "not the URL of a server"),
        ("http:///path", {}, "not the URL of a server"),
        ("http://host:port", {}, "not the URL of a server"),
        ("http://host:99999", {}, "not the URL of a server"),
        ("http://host#part", {}, "not the URL of a server"),
        ("http://host?retries=3", {}, "'retries' in .* is unknown; did you mean 'retry_s'"),
        ("http://host?nonsense=3", {}, "known: connect_timeout_s, timeout_s, retry_s, ca_bundle, verify"),
        ("http://host?token=abc", {}, r"'token' in .*token=\*\*\*"),
        ("http://host?timeout_s=soon", {}, "expected a number"),
        ("http://host", {"timeout_s": 0}, "timeout_s is 0; expected a number of seconds"),
        ("http://host", {"timeout_s": True}, "timeout_s is True"),
        ("http://host", {"retry_s": -1}, "retry_s is -1"),
        ("http://host", {"verify": "no"}, "verify is 'no'; expected true or false"),
        ("http://host", {"token": "a b"}, "a character that no token has"),
        ("http://host", {"token": "line\nend"}, "a character that no token has"),
    ],
)
def test_what_cannot_be_meant_is_refused(url, options, match):
    for store_class in (RemoteMetadataStore, RemoteArtifactStore):
        with pytest.raises(ConfigurationError, match=match) as caught:
            store_class(url, **options)
        assert "a b" not in str(caught.value)


def test_a_secret_in_a_url_that_is_refused_stays_secret():
    for url in (f"http://:{TOKEN}@host?nonsense=1", f"http://:{TOKEN}@host:port", f"http://:{TOKEN}@host#x"):
        with pytest.raises(ConfigurationError) as caught:
            RemoteMetadataStore(url)
        assert TOKEN not in str(caught.value)


def test_options_come_from_the_table_of_the_scheme(url):
    settings = load_settings(url=url, stores={"http": {"retry_s": 1, "timeout_s": 7.5}}, environ={})
    with open_store(url, settings) as store:
        assert (store._connection.address.retry_s, store._connection.address.timeout_s) == (1, 7.5)
    with pytest.raises(ConfigurationError, match=r"stores\.http\.timeout .* 'timeout_s'"):
        open_store(url, load_settings(url=url, stores={"http": {"timeout": 1}}, environ={}))


# Errors


def test_errors_come_back_as_they_were_raised(url):
    writer, run_id = a_run()
    with RemoteMetadataStore(url) as store:
        with pytest.raises(StreamGapError) as gap:
            store.apply(writer.changes[1:])
        assert gap.value.expected == 1
        with pytest.raises(QuerySyntaxError) as syntax:
            store.find(Query(filter="metrics.auc >> 1"))
        assert (syntax.value.column, syntax.value.text) == (14, "metrics.auc >> 1")
        with pytest.raises(InvalidArgumentError, match="gadget"):
            store.get("gadget", run_id)
        with pytest.raises(NotFoundError, match=run_id):
            store.get("run", run_id)
        with pytest.raises(InvalidArgumentError, match="max_points is 0"):
            store.apply(writer.changes)
            writer.append(run_id, {"loss": [1.0]})
            store.apply(writer.changes)
            store.read_series(run_id, "loss", max_points=0)


def test_a_failure_inside_the_server_is_an_outage(tmp_path):
    class Broken(FsspecArtifactStore):
        def stat(self, digest):
            msg = "a secret place"
            raise RuntimeError(msg)

    with open_store(f"sqlite:///{tmp_path}/a.db") as store, serving(store, Broken(f"file://{tmp_path}/b")) as url:
        with pytest.raises(StoreUnavailableError, match="failed") as caught:
            RemoteArtifactStore(url).stat("0" * 64)
        assert "secret place" not in str(caught.value)


def test_a_server_that_is_not_there_is_named():
    port = free_port()
    with pytest.raises(
        StoreUnavailableError, match=f"nothing listens on port {port} of 127.0.0.1; is the server started"
    ):
        RemoteMetadataStore(f"http://127.0.0.1:{port}", **SOON).heads()


def test_a_host_that_is_unknown_is_named(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(StoreUnavailableError, match=r"the host 'models\.invalid' is unknown"):
        RemoteMetadataStore("https://models.invalid", **SOON).heads()


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RemoteMetadataStore(f"http://127.0.0.1:{silent.getsockname()[1]}", **SOON)
        with pytest.raises(StoreUnavailableError, match="no answer within 1 s"):
            store.heads()


@contextmanager
def answering(status, body=b"", *, context=None, **headers):
    """Answer every request alike, as something else than ModelDB might; gives the port and the requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_port, requests
    server.shutdown()
    server.server_close()
    thread.join()


HTML = b"<html><body>Welcome to the hotel's network</body></html>"


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected", "match"),
    [
        (200, HTML, {}, ConfigurationError, "not a server of ModelDB"),
        (200, b'{"hello": "world"}', {}, ConfigurationError, "not a server of ModelDB"),
        (404, HTML, {}, ConfigurationError, "not a server of ModelDB"),
        (404, b'{"error": {"code": "not_found", "message": "x"}}', {}, StoreVersionError, "too old"),
        (
            302,
            b"",
            {"Location": "https://login.test/?secret=1"},
            ConfigurationError,
            "to https://login.test/; use that",
        ),
        (
            308,
            HTML,
            {"Location": "https://models.test/team/api/v2/store?a=1"},
            ConfigurationError,
            "to https://models.test/team; use that",
        ),
        (307, b"", {"Location": "/api/v2/store"}, ConfigurationError, "status 307, a redirection to itself"),
        (302, b"", {}, ConfigurationError, "status 302, a redirection to itself or to nowhere"),
        (401, HTML, {}, PermissionDeniedError, "asks for a token"),
        (403, HTML, {}, PermissionDeniedError, "a proxy before"),
        (413, HTML, {}, StoreUnavailableError, "client_max_body_size"),
        (500, HTML, {}, StoreUnavailableError, "a proxy before it answers with status 500"),
        (502, HTML, {}, StoreUnavailableError, "a proxy before it answers with status 502"),
        (503, b'{"error": {"code": "busy", "message": "too much"}}', {}, StoreUnavailableError, "too much"),
        (
            200,
            b'{"name": "ModelDB", "version": "9.0", "protocols": [7, 8]}',
            {},
            StoreVersionError,
            "ModelDB 9.0 and speaks version 7, 8 .* update this one",
        ),
        (
            200,
            b'{"name": "ModelDB", "version": "0.0.1", "protocols": [0]}',
            {},
            StoreVersionError,
            "update the server",
        ),
    ],
)
def test_what_answers_in_place_of_a_server_is_told_apart(status, body, headers, expected, match):
    with answering(status, body, **headers) as (port, _), pytest.raises(expected, match=match) as caught:
        RemoteMetadataStore(f"http://127.0.0.1:{port}", **SOON).heads()
    assert "secret=1" not in str(caught.value)


def test_what_speaks_no_http_is_an_outage():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble():
            # The client may be gone before it is greeted, and the test be over before the fifth one comes.
            with contextlib.suppress(OSError):
                for _ in range(5):
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=babble, daemon=True).start()
        store = RemoteMetadataStore(f"http://127.0.0.1:{server.getsockname()[1]}", **SOON)
        with pytest.raises(StoreUnavailableError, match="the connection broke"):
            store.heads()


def test_a_server_that_wants_to_be_left_alone_is(monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with answering(503, b"", Retry_After="3") as (port, requests), pytest.raises(StoreUnavailableError):
        RemoteMetadataStore(f"http://127.0.0.1:{port}", retry_s=3.5).heads()
    assert pauses
    assert all(3.0 <= pause <= 4.0 for pause in pauses)  # a little later each: others were told the same
    assert len(requests) == len(pauses) + 1


@pytest.mark.parametrize("said", ["7200", "Mon, 30 Nov 2026 14:00:00 GMT"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_wants_to_be_left_alone_for_long_is_asked_once(tmp_path, monkeypatch, status, said):
    for name in ("MAX_PAUSE_S", "ASKED_PAUSE_S"):
        monkeypatch.setattr(f"modeldb_core.journal.retries.{name}", 0.01)
    headers = {"Retry_After": said, "Date": "Mon, 30 Nov 2026 12:00:00 GMT"}
    with answering(status, b"", **headers) as (port, requests):
        url = f"http://127.0.0.1:{port}"
        options = {"journal_dir": tmp_path, "flush_interval_s": 0.01, "exit_timeout_s": 0.1}
        client = modeldb.connect(url, artifact_url=url, capture_enabled=False, **options)
        run = client.start_run("p")
        run.log_metric("m", 1.0, step=0)
        run.log_artifact(b"content", "file.bin")
        stream = client.writer.stream
        wait_until(lambda: stream.failure is not None and stream.uploads.failure is not None)
        count = len(requests)
        assert client.flush(0.5) is False
        assert len(requests) == count
        client.close()
        assert len(requests) == count


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_a_certificate_that_nobody_vouches_for_is_refused_with_the_way_out(certificate):
    context, path = certificate
    body = b'{"name": "ModelDB", "version": "1", "protocols": [1]}'
    with answering(200, body, context=context) as (port, _):
        with pytest.raises(ConfigurationError, match=r"not to be trusted: self.signed.*ca_bundle"):
            RemoteMetadataStore(f"https://localhost:{port}", **SOON).heads()
        with pytest.raises(
            ConfigurationError, match="not to be trusted: IP address mismatch|not valid for '127.0.0.1'"
        ):
            RemoteMetadataStore(f"https://127.0.0.1:{port}", ca_bundle=str(path), **SOON).heads()
        trusted = RemoteMetadataStore(f"https://localhost:{port}", ca_bundle=str(path), **SOON)
        trusted._connection.hello()
        with pytest.warns(ModelDBWarning, match="not checked"):
            unchecked = RemoteMetadataStore(f"https://127.0.0.1:{port}", verify=False, **SOON)
        unchecked._connection.hello()


def test_a_bundle_that_is_none_is_named(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(ConfigurationError, match=f"ca_bundle .*{name}.* is not a file of certificates"):
            RemoteMetadataStore("https://localhost:9", ca_bundle=str(tmp_path / name), **SOON).heads()


def test_https_to_a_plain_server_says_so():
    with answering(200) as (port, _), pytest.raises(StoreUnavailableError, match="TLS failed"):
        RemoteMetadataStore(f"https://localhost:{port}", **SOON).heads()


# Proxies


def test_the_proxy_of_the_environment_is_used_and_its_password_not_shown(monkeypatch):
    body = b'{"name": "ModelDB", "version": "1", "protocols": [1]}'
    with answering(200, body) as (port, requests):
        monkeypatch.setenv("http_proxy", f"http://ada:s3cret@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        store = RemoteMetadataStore("http://models.test/base", **SOON)
        store._connection.hello()
        assert requests[0].path == "http://models.test:80/base/api/v2/store"
        assert requests[0].headers["Proxy-Authorization"].startswith("Basic ")
    monkeypatch.setenv("https_proxy", f"http://ada:s3cret@127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailableError, match="the proxy that HTTPS_PROXY or HTTP_PROXY names") as caught:
        RemoteMetadataStore("https://models.test", **SOON).heads()
    assert "s3cret" not in str(caught.value)


# Processes and threads


def test_it_opens_while_the_server_is_away_and_works_once_it_is_there(tmp_path):
    port = free_port()
    store = RemoteMetadataStore(f"http://127.0.0.1:{port}", **SOON)
    with pytest.raises(StoreUnavailableError):
        store.heads()
    with serving_folder(tmp_path, ServerSettings(port=port)):
        assert store.heads() == {}


def test_a_closed_store_says_so(url):
    store = RemoteMetadataStore(url)
    store.heads()
    store.close()
    store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        store.heads()


@pytest.fixture
def server():
    """A server that is not part of the process that forks."""
    process = ModelDBServer(with_token=False)
    yield process
    process.stop()


@forks
def test_a_forked_child_speaks_over_connections_of_its_own(server):
    url = server.url
    writer, run_id = a_run()
    with RemoteMetadataStore(url) as store:
        store.apply(writer.changes)
        artifacts = RemoteArtifactStore(url)
        artifacts.put(io.BytesIO(b"of the parent"))
        child = os.fork()
        if not child:
            code = 1
            try:
                other, _ = a_run("of the child")
                store.apply(other.changes)
                artifacts.put(io.BytesIO(b"of the child"))
                code = 0 if store.get("run", run_id).name == "run" else 2
            finally:
                os._exit(code)
        for _ in range(20):
            assert store.get("run", run_id).name == "run"
        assert os.waitpid(child, 0)[1] == 0
        assert store.find(Query(filter="name = 'of the child'", count=True)).total == 1
        assert len(list(artifacts.list())) == 2


@forks
def test_a_fork_while_threads_are_asking_leaves_neither_side_stuck(server):
    with RemoteMetadataStore(server.url) as store:
        stop = threading.Event()

        def ask():
            while not stop.is_set():
                store.heads()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(5):
            child = os.fork()
            if not child:
                code = 1
                try:
                    store.heads()
                    store.close()
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        stop.set()
        for thread in threads:
            thread.join()
        assert codes == [0] * 5


def test_connections_are_kept(tmp_path):
    from tests.services.proxy import Proxy

    with serving_folder(tmp_path) as url:
        proxy = Proxy(int(url.rpartition(":")[2]))
        with RemoteMetadataStore(f"http://127.0.0.1:{proxy.port}") as store:
            for _ in range(20):
                store.heads()
        assert proxy.connections == 1
        proxy.close()


# Networks that fail


def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path):
    from tests.services.proxy import Proxy

    content = os.urandom(3_000_000)
    with serving_folder(tmp_path) as url:
        digest = RemoteArtifactStore(url).put(io.BytesIO(content)).digest
        proxy = Proxy(int(url.rpartition(":")[2]), cut_after=1_000_000)
        artifacts = RemoteArtifactStore(f"http://127.0.0.1:{proxy.port}", **SOON)
        proxy.mode = "cut"  # before it is opened: that asks for the content already
        stream = artifacts.open(digest)
        assert stream.read() == content
        assert proxy.cuts >= 2
        stream = artifacts.open(digest)
        proxy.close()
        with pytest.raises(StoreUnavailableError):
            stream.read()


def test_what_cannot_be_reached_is_asked_a_bounded_number_of_times(tmp_path):
    from tests.services.proxy import Proxy

    with serving_folder(tmp_path) as url:
        proxy = Proxy(int(url.rpartition(":")[2]))
        store = RemoteMetadataStore(f"http://127.0.0.1:{proxy.port}", **SOON)
        store.heads()
        for mode in ("hang", "refuse"):
            proxy.mode = mode
            with pytest.raises(StoreUnavailableError):
                store.heads()
        proxy.mode = "pass"
        assert store.heads() == {}
        proxy.close()


def test_an_answer_that_was_altered_on_its_way_is_noticed(url, monkeypatch):
    writer, run_id = a_run()
    writer.append(run_id, {"loss": [1.0, 2.0]})
    with RemoteMetadataStore(url) as store:
        store.apply(writer.changes)
        monkeypatch.setattr(protocol, "dump_series", lambda series: b"\1" * 40)
        with pytest.raises(IntegrityError, match="loss"):
            store.read_series(run_id, "loss")


def test_all_errors_of_a_remote_store_are_of_modeldb(tmp_path):
    digest = hashlib.sha256(b"").hexdigest()
    asks = (
        lambda: RemoteMetadataStore("http://127.0.0.1:1", **SOON).find(Query()),
        lambda: RemoteArtifactStore("http://127.0.0.1:1", **SOON).put(io.BytesIO(b"x")),
        lambda: RemoteArtifactStore("http://127.0.0.1:1", **SOON).open(digest),
        lambda: next(RemoteArtifactStore("http://127.0.0.1:1", **SOON).list()),
        lambda: RemoteArtifactStore("http://127.0.0.1:1", **SOON).url_for(digest),
    )
    for ask in asks:
        with pytest.raises(ModelDBError, match=r"nothing listens on port 1 of 127\.0\.0\.1"):
            ask()
