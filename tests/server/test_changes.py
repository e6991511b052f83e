from __future__ import annotations

import io
import itertools
import json
import struct
from typing import Any

import pytest

from modeldb_core.log.batches import MAX_BATCH_BYTES, MAX_BATCH_CHANGES, MEDIA_TYPE, decode_changes, encode_changes
from modeldb_core.log.changes import GENESIS
from modeldb_core.log.conditions import MAX_CONDITIONS, Absent, RevisionIs, load_condition
from modeldb_core.stores.protocol import CURSOR_HEADER, EXPECT_MAGIC, MORE_HEADER, PART_MAGIC, dump_expect
from modeldb_core.testing import StreamWriter
from modeldb_server.handlers import audit
from modeldb_server.handlers import store as handlers_store

BATCH = {"Content-Type": MEDIA_TYPE, "X-ModelDB": "1"}


def test_changes_come_in_order_with_their_chain(client: Any, filled: Any) -> None:
    page = client.get("/api/v2/changes", stream_id=filled.writer.stream_id, limit=1000)
    changes = page["changes"]
    assert [change["seq"] for change in changes] == list(range(1, len(filled.writer.changes) + 1))
    assert changes[0]["previous_hash"] == GENESIS.hex()
    for before, after in itertools.pairwise(changes):
        assert after["previous_hash"] == before["hash"]
    created = next(change for change in changes if change["entity_id"] == filled.run_id)
    assert (created["action"], created["kind"], created["actor"]) == ("create", "run", "ada")
    assert created["data"]["hyperparameters"]["huge"] == {"$int": str(2**70)}
    assert created["recorded_at"].endswith("Z")


def test_points_are_counted_and_not_listed(client: Any, filled: Any) -> None:
    changes = client.get("/api/v2/changes", limit=1000)["changes"]
    (appended,) = [change for change in changes if change["action"] == "append"]
    assert appended["data"] == {"points": 8, "keys": ["loss", "accuracy"]}


def test_pages_follow_one_another(client: Any, filled: Any) -> None:
    seen, cursor = [], 0
    while True:
        page = client.get("/api/v2/changes", after=cursor, limit=4)
        if not page["changes"]:
            break
        seen += page["changes"]
        cursor = page["cursor"]
    assert [change["seq"] for change in seen] == list(range(1, len(filled.writer.changes) + 1))


def test_one_entity_is_picked(client: Any, filled: Any) -> None:
    changes = client.get("/api/v2/changes", entity_id=filled.other_run_id)["changes"]
    assert [change["action"] for change in changes] == ["create"]


def test_an_erased_payload_is_null(client: Any, filled: Any) -> None:
    doomed = next(change for change in filled.writer.changes if change.entity_id == filled.other_run_id)
    filled.writer.erase(doomed)
    filled.apply()
    (shown, *_) = client.get("/api/v2/changes", entity_id=filled.other_run_id)["changes"]
    assert (shown["erased"], shown["data"]) == (True, None)
    assert shown["hash"] == doomed.hash.hex()


def test_a_page_ends_before_it_grows_too_large(client: Any, filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_PAYLOAD_BYTES", 1000)
    start = client.get("/api/v2/server")["cursor"]
    for index in range(5):
        filled.writer.update("run", filled.run_id, set={"attributes": {"text": "x" * 400, "index": index}})
    filled.writer.update("run", filled.run_id, set={"attributes": {"text": "y" * 5000}})
    filled.apply()
    sizes, cursor = [], start
    while changes := (page := client.get("/api/v2/changes", after=cursor))["changes"]:
        sizes.append([len(json.dumps(change["data"])) for change in changes])
        cursor = page["cursor"]
    assert [len(page) for page in sizes] == [2, 2, 1, 1]


def test_the_content_of_users_and_tokens_is_hidden(client: Any, filled: Any) -> None:
    filled.writer.create("user", "u1", name="eve", email="eve@example.org")
    filled.writer.create("token", "t1", user_id="u1", digest="5ecret")
    filled.apply()
    text = client.request("GET", "/api/v2/changes?limit=1000").text
    assert "5ecret" not in text
    assert "eve@example.org" not in text
    for path in ("/api/v2/tokens", "/api/v2/users", "/api/v2/tokens/t1", "/api/v2/users/u1"):
        assert client.request("GET", path).status_code == 404
    assert client.request("GET", "/api/v2/keys?kind=token").status_code == 400


def test_no_more_changes_are_read_than_an_answer_holds(
    client: Any, filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers_store, "MAX_ANSWER_BYTES", 20_000)
    monkeypatch.setattr(handlers_store, "FIRST_CHANGES", 2)
    for index in range(40):
        filled.writer.update("run", filled.run_id, set={"attributes": {"text": "x" * 2000, "index": index}})
    filled.apply()
    read: list[int] = []
    original = filled.store.read_changes

    def counted(**options: Any) -> Any:
        page = original(**options)
        read.append(len(page.changes))
        return page

    monkeypatch.setattr(filled.store, "read_changes", counted)
    seen: list[Any] = []
    cursor, answers, more = 0, 0, "1"
    while more == "1":
        answer = client.request("GET", f"/api/v2/store/changes?after={cursor}&limit=1000")
        found = decode_changes(answer.data)
        assert sum(len(change.payload or b"") for change in found) <= 40_000
        seen += found
        cursor, more = int(answer.headers[CURSOR_HEADER]), answer.headers[MORE_HEADER]
        answers += 1
    assert seen == filled.writer.changes
    assert answers >= 4
    assert sum(read) == len(seen), "each change was read once"


def test_a_batch_of_too_many_changes_is_refused_before_it_is_unpacked(client: Any, filled: Any) -> None:
    head = struct.pack("<4sBIQ", b"CHG1", 1, MAX_BATCH_CHANGES + 1, 1000)
    answer = client.request("POST", "/api/v2/store/changes", data=head + b"never looked at", headers=BATCH)
    assert answer.status_code == 413
    assert answer.json["error"]["code"] == "too_large"


def test_batches_that_together_are_too_much_wait_for_their_turn(client: Any, filled: Any) -> None:
    writes = client.flask.application.extensions["modeldb_server"].writes
    batch = encode_changes(filled.writer.changes)
    with writes.room.taken(2 * MAX_BATCH_CHANGES, 0):
        answer = client.request("POST", "/api/v2/store/changes", data=batch, headers=BATCH)
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert client.request("POST", "/api/v2/store/changes", data=batch, headers=BATCH).status_code == 200


def stage(filled: Any, content: bytes) -> str:
    """Put a part of a batch; returns its digest."""
    return filled.artifacts.put(io.BytesIO(PART_MAGIC + b"0" * 64 + b"\n" + content)).digest


def send_staged(client: Any, *parts: str) -> Any:
    return client.request("POST", "/api/v2/store/changes/staged", json={"parts": parts}, headers={"X-ModelDB": "1"})


NOT_THERE = "f" * 64


@pytest.mark.parametrize(("count", "size_bytes"), [(MAX_BATCH_CHANGES + 1, 1000), (1, MAX_BATCH_BYTES + 1)])
def test_of_a_batch_in_parts_that_is_too_much_only_the_head_is_read(
    client: Any, filled: Any, count: int, size_bytes: int
) -> None:
    part = stage(filled, struct.pack("<4sBIQ", b"CHG1", 0, count, size_bytes))
    answer = send_staged(client, part, NOT_THERE)
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "too_large")


def test_of_a_batch_in_parts_that_there_is_no_room_for_only_the_head_is_read(client: Any, filled: Any) -> None:
    writes = client.flask.application.extensions["modeldb_server"].writes
    batch = encode_changes(filled.writer.changes)
    parts = stage(filled, batch[:100]), stage(filled, batch[100:])
    with writes.room.taken(0, 2 * MAX_BATCH_BYTES):
        answer = send_staged(client, parts[0], NOT_THERE)
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "busy")
    assert send_staged(client, parts[0], NOT_THERE).status_code == 404
    assert send_staged(client, *parts).status_code == 200


def test_a_batch_in_parts_that_goes_on_after_its_end_is_refused_and_not_read_to_its_end(
    client: Any, filled: Any
) -> None:
    batch = encode_changes(filled.writer.changes, compress=False)
    answer = send_staged(client, stage(filled, batch), stage(filled, bytes(1000)), NOT_THERE)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "integrity")


NO_CONDITIONS = {
    "not JSON": b"{",
    "no list": b"{}",
    "no objects": b"[1]",
    "unknown": b'[{"condition": "weather_is", "kind": "run"}]',
    "no fields": b'[{"condition": "absent"}]',
    "other fields": b'[{"condition": "absent", "kind": "run", "entity_id": "x", "more": 1}]',
    "a kind that is none": b'[{"condition": "absent", "kind": ["run"], "entity_id": "x"}]',
    "an unknown kind": b'[{"condition": "absent", "kind": "teapot", "entity_id": "x"}]',
    "an identifier with NUL": b'[{"condition": "absent", "kind": "run", "entity_id": "a\\u0000b"}]',
    "half of a pair": b'[{"condition": "absent", "kind": "run", "entity_id": "\\ud800"}]',
    "no integer": b'[{"condition": "revision_is", "kind": "run", "entity_id": "x", "revision": 1.5}]',
    "nothing unique": b'[{"condition": "unique", "kind": "run", "scope": "", "field": "name", "value": "x"}]',
    "a map to be unique": b'[{"condition": "unique", "kind": "workspace", "scope": "", "field": "name", "value": {}}]',
    "deep": b'[{"condition": "value_is", "kind": "run", "entity_id": "x", "field": "f", "value": '
    + b"[" * 100_000
    + b"]" * 100_000
    + b"}]",
    "too many": b"["
    + b",".join([b'{"condition": "absent", "kind": "run", "entity_id": "x"}'] * (MAX_CONDITIONS + 1))
    + b"]",
}


@pytest.mark.parametrize("what", [*NO_CONDITIONS, "too long", "cut off"])
def test_conditions_that_are_none_are_refused_by_name(client: Any, filled: Any, what: str) -> None:
    writer = StreamWriter()
    writer.create_run(name="never")
    batch = encode_changes(writer.changes)
    data = NO_CONDITIONS.get(what, b"[]")
    length = {"too long": 1 << 31, "cut off": 1000}.get(what, len(data))
    body = struct.pack("<4sI", EXPECT_MAGIC, length) + data + (b"" if what == "cut off" else batch)
    answer = client.request("POST", "/api/v2/store/changes", data=body, headers=BATCH)
    expected = {"cut off": (422, {"integrity"})}.get(what, (400, {"invalid_argument", "invalid_type"}))
    assert answer.status_code == expected[0], answer.data
    assert answer.json["error"]["code"] in expected[1]
    assert writer.stream_id not in filled.store.heads()


def test_a_condition_that_does_not_hold_is_answered_with_what_was_found(client: Any, filled: Any) -> None:
    filled.apply()
    writer = StreamWriter()
    writer.update("run", filled.run_id, set={"name": "other"})
    for condition in (RevisionIs("run", filled.run_id, 1_000), Absent("run", filled.run_id)):
        body = dump_expect([condition]) + encode_changes(writer.changes)
        answer = client.request("POST", "/api/v2/store/changes", data=body, headers=BATCH)
        error = answer.json["error"]
        assert (answer.status_code, error["code"]) == (412, "precondition")
        assert load_condition(error["condition"]) == condition
        assert error["found"] == filled.store.get("run", filled.run_id).revision
    assert writer.stream_id not in filled.store.heads()
