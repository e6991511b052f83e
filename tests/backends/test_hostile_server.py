"""What a hostile or broken server cannot do: be believed, hang a program, fill its memory, or send it elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import socket
from http.client import HTTPException
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.backends.remote.address import read_address
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.direct import open_direct
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.errors import ModelDBError, StoreUnavailableError
from modeldb_core.log.batches import encode_changes
from modeldb_core.plugins import open_store
from modeldb_core.queries import Query
from modeldb_core.testing import StreamWriter
from tests.services import hostile
from tests.services.hostile import PORTAL, Gate, reply
from tests.services.server import serving_folder
from tests.waiting import wait_until

FAST = {"timeout_s": 0.5, "retry_s": 0.0, "connect_timeout_s": 5.0}
DEEP = b"[" * 100_000


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.close()


def ask_everything(url: str) -> list[Any]:
    """Return what each question and each write raised."""
    store, blobs = RemoteMetadataStore(url, **FAST), RemoteArtifactStore(url, **FAST)
    changes = [StreamWriter().create_run(project="p")]
    content = b"content"
    digest = hashlib.sha256(content).hexdigest()
    calls = [
        lambda: store.apply(changes),
        lambda: store.get("run", "x"),
        lambda: store.find(Query()),
        lambda: store.find_keys(Query()),
        lambda: store.find_groups(Query(), "status"),
        lambda: store.read_series("x", "loss"),
        lambda: store.read_changes(),
        store.heads,
        lambda: blobs.put(io.BytesIO(content)),
        lambda: blobs.stat(digest),
        lambda: blobs.open(digest).read(),
        lambda: list(blobs.list()),
        lambda: blobs.delete(digest),
        blobs.owners,
        lambda: blobs.add_owner("me"),
    ]
    raised = []
    for call in calls:
        try:
            raised.append(call())
        except ModelDBError as error:
            raised.append(error)
    store.close()
    blobs.close()
    return raised


@pytest.mark.parametrize(
    "body",
    [
        PORTAL,
        b"",
        b"null",
        b"[1, 2]",
        b"5",
        b"{}",
        DEEP,
        b'{"done": true}',
        b'{"entities": [[]], "cursor": 5, "total": "x"}',
        b'{"entities": [{"entity_id": 5, "document": []}], "cursor": null, "total": null}',
        b'{"keys": [[1, 2, 3, 4, 5]], "streams": {"x": [1, "00"]}, "owners": [5]}',
        b'{"x": [1, "zz", 3, 4, 5]}',
        b'{"digest": "../../etc", "size_bytes": -1, "modified_at": 1e400}',
        b'{"n": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_an_answer_that_a_server_does_not_give_is_an_unreachable_store(gate: Gate, body: bytes) -> None:
    gate.behave = reply(body)
    for raised in ask_everything(gate.url):
        if (body, raised) in ((b'{"done": true}', None), (b"{}", {})):
            continue  # what was removed, and a store without streams, look just like that
        assert isinstance(raised, ModelDBError), (body[:60], raised)


def test_no_change_is_acknowledged_by_an_answer_that_does_not_name_it(gate: Gate) -> None:
    changes = [StreamWriter().create_run(project="p")]
    last = changes[-1]
    store = RemoteMetadataStore(gate.url, **FAST)
    for said in (
        {},
        {"done": True},
        {"streams": {}},
        {"streams": {last.stream_id: [last.seq - 1, last.hash.hex()]}},
        {"streams": {last.stream_id: [last.seq, "00" * 32]}},
        {"streams": {"another": [last.seq, last.hash.hex()]}},
    ):
        gate.behave = reply(json.dumps(said).encode())
        with pytest.raises(StoreUnavailableError, match="did not answer as a server of ModelDB does"):
            store.apply(changes)
    gate.behave = reply(json.dumps({"streams": {last.stream_id: [last.seq, last.hash.hex()]}}).encode())
    store.apply(changes)


@pytest.mark.parametrize("behave", [hostile.drip, hostile.drip_headers])
def test_an_answer_that_drips_comes_to_an_end(gate: Gate, behave: Any) -> None:
    gate.behave = behave
    with pytest.raises(StoreUnavailableError):
        RemoteMetadataStore(gate.url, **FAST).heads()


@pytest.mark.parametrize("behave", [hostile.endless, hostile.bomb])
def test_an_answer_without_an_end_fills_no_memory(gate: Gate, behave: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldb_core.backends.remote.connection.MAX_ANSWER_BYTES", 8 << 20)
    monkeypatch.setitem(RemoteMetadataStore.heads.__globals__, "_MAX_SERIES_BYTES", 8 << 20)
    gate.behave = behave
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = RemoteMetadataStore(gate.url, timeout_s=20.0, retry_s=0.0)
    with pytest.raises(StoreUnavailableError, match="longer than 8,388,608 bytes"):
        store.read_series("x", "loss")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 200_000


def test_a_cursor_that_never_ends_is_not_followed_for_ever(gate: Gate) -> None:
    gate.behave = reply(b'{"entities": [], "cursor": "again", "total": null}')
    with pytest.raises(StoreUnavailableError):
        RemoteMetadataStore(gate.url, **FAST).find(Query(limit=10_000))
    gate.behave = reply(encode_changes([]), ModelDB_Cursor="0", ModelDB_More="1")
    with pytest.raises(ModelDBError):
        RemoteMetadataStore(gate.url, **FAST).read_changes(limit=10_000)


def test_what_a_server_says_reaches_the_terminal_as_text(gate: Gate) -> None:
    message = "\x1b]0;owned\x07\x1b[2J\u202etxt" + "x" * 100_000
    gate.behave = reply(json.dumps({"error": {"code": "not_found", "message": message}}).encode(), status=404)
    with pytest.raises(ModelDBError) as caught:
        RemoteMetadataStore(gate.url, **FAST).get("run", "x")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("https://93.184.216.34", "http://93.184.216.34/x"),  # less secure than the way to the server
        ("https://93.184.216.34", "file:///etc/passwd"),
        ("https://93.184.216.34", "https://127.0.0.1/x"),
        ("https://93.184.216.34", "https://[::1]/x"),
        ("https://93.184.216.34", "https://[::ffff:127.0.0.1]/x"),
        ("https://93.184.216.34", "https://localhost/x"),
        ("https://93.184.216.34", "https://10.0.0.5/x"),
        ("https://93.184.216.34", "https://169.254.169.254/latest/meta-data"),
        ("https://93.184.216.34", "https://user@93.184.216.34/x"),
        ("http://10.0.0.1", "http://127.0.0.1/x"),
        ("http://10.0.0.1", "http://169.254.169.254/x"),
        ("http://127.0.0.1", "http://169.254.169.254/x"),
        ("http://127.0.0.1", "ftp://127.0.0.1/x"),
        ("http://127.0.0.1", "http://0.0.0.0/x"),
        ("http://127.0.0.1", "http://127.0.0.1/x y"),
        ("http://127.0.0.1", "http:///x"),
    ],
)
def test_a_server_does_not_send_this_machine_into_its_own_network(
    server: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(*_: object, **__: object) -> None:
        pytest.fail("it was followed")

    monkeypatch.setattr(socket, "create_connection", connected)
    address = read_address(
        server, token="", connect_timeout_s=1.0, timeout_s=1.0, retry_s=0.0, ca_bundle="", verify=True
    )
    with pytest.raises((HTTPException, ValueError)):
        open_direct(url, address, 0)


@pytest.mark.parametrize(
    "behave",
    [
        reply(PORTAL),
        hostile.drip,
        hostile.endless,
        hostile.bomb,
        hostile.garbage,
        reply(b"", 302, Location="http://x/"),
    ],
    ids=["portal", "drip", "endless", "bomb", "garbage", "redirect"],
)
def test_training_goes_on_and_everything_arrives_afterwards(
    gate: Gate, behave: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeldb_core.backends.remote.connection.MAX_ANSWER_BYTES", 8 << 20)
    with serving_folder(tmp_path) as url:
        gate.target = int(url.rpartition(":")[2])
        place = f"{gate.url}?timeout_s=0.3&retry_s=0&connect_timeout_s=5"
        client = modeldb.connect(place, flush_interval_s=0.05, exit_timeout_s=1, capture_enabled=False)
        run = client.start_run("churn", name="first")
        run.log_metric("loss", 1.0, step=0)
        assert client.flush(240)
        gate.behave = behave
        for step in range(1, 501):
            run.log_metric("loss", 1.0 / step, step=step)
        wait_until(lambda: gate.misled > 0)
        run.finish()
        client.close()
        gate.behave = None
        with modeldb.connect(place, flush_interval_s=0.05, capture_enabled=False) as client:
            client.writer.recover(60)
        with open_store(f"sqlite:///{tmp_path}/modeldb.db") as store:
            (entity,) = store.find(Query()).entities
            assert entity.status == "finished"  # type: ignore[attr-defined]
            assert store.read_series(entity.entity_id, "loss").steps.tolist() == list(range(501))
