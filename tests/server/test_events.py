from __future__ import annotations

import http.client
import json
import threading
from typing import Any

import pytest

from modeldb_core.backends._sql import log
from modeldb_core.backends._sql.database import Transaction
from modeldb_server import events
from modeldb_server.events import EventHub, read_batch
from modeldb_server.limits import BusyError
from tests.waiting import wait_until


class Listener:
    """Reads one event stream of a listening server, an event at a time."""

    def __init__(self, live: Any, path: str = "/api/v2/events", headers: dict[str, str] | None = None) -> None:
        self.connection: http.client.HTTPConnection = live.connect()
        self.connection.request("GET", path, headers=headers or {})
        self.response = self.connection.getresponse()

    def lines(self) -> list[str]:
        lines = []
        while line := self.response.readline().decode():
            if line == "\n":
                return lines
            lines.append(line.rstrip("\n"))
        return lines

    def event(self) -> tuple[str, Any]:
        while True:
            lines = self.lines()
            assert lines, "the stream ended"
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "event" in fields:
                assert int(fields["id"]) == json.loads(fields["data"])["cursor"]
                return fields["event"], json.loads(fields["data"])

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@pytest.fixture
def listen(live: Any) -> Any:
    opened = []

    def start(*arguments: Any, **options: Any) -> Listener:
        opened.append(Listener(live, *arguments, **options))
        return opened[-1]

    yield start
    for listener in opened:
        listener.close()


def test_a_stream_tells_which_entities_changed(live: Any, listen: Any, filled: Any) -> None:
    listener = listen()
    assert listener.response.status == 200
    assert listener.response.headers["Content-Type"].startswith("text/event-stream")
    kind, data = listener.event()
    assert (kind, data["cursor"]) == ("ready", filled.store.end_of_log())
    filled.writer.update("run", filled.run_id, set={"name": "x"})
    filled.writer.update("run", filled.run_id, set={"name": "y"})
    filled.writer.append(filled.run_id, {"loss": [0.1]})
    filled.writer.beat()
    filled.apply()
    kind, data = listener.event()
    assert kind == "changes"
    assert data["entities"] == [
        {"kind": "run", "entity_id": filled.run_id, "action": action} for action in ("update", "append")
    ]
    assert data["truncated"] is False
    assert data["cursor"] == filled.store.end_of_log()


def test_what_happened_while_a_page_was_away_is_told_on_return(listen: Any, filled: Any) -> None:
    before = filled.store.end_of_log()
    filled.writer.update("run", filled.run_id, set={"name": "x"})
    filled.apply()
    listener = listen(f"/api/v2/events?after={before}")
    assert listener.event() == ("ready", {"cursor": before})
    assert listener.event()[1]["entities"] == [{"kind": "run", "entity_id": filled.run_id, "action": "update"}]
    again = listen("/api/v2/events", {"Last-Event-ID": str(before)})
    assert again.event()[1]["cursor"] == before
    assert again.event()[1]["entities"][0]["entity_id"] == filled.run_id


def test_a_cursor_from_another_store_begins_at_the_end(listen: Any, filled: Any) -> None:
    listener = listen("/api/v2/events?after=999999999")
    assert listener.event()[1]["cursor"] == filled.store.end_of_log()


def test_too_much_to_list_says_look_again(listen: Any, filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_ENTITIES", 3)
    listener = listen()
    listener.event()
    for _ in range(5):
        filled.writer.create("comment", parent_id=filled.run_id, message="x")
    filled.apply()
    data = listener.event()[1]
    assert (data["entities"], data["truncated"]) == ([], True)


def test_secrets_are_not_announced(listen: Any, filled: Any) -> None:
    listener = listen()
    listener.event()
    filled.writer.create("token", "t1", user_id="u1", digest="x")
    filled.apply()
    filled.writer.create("comment", "c1", parent_id=filled.run_id, message="x")
    filled.apply()
    assert [item["kind"] for item in listener.event()[1]["entities"]] == ["comment"]


def test_an_idle_stream_shows_that_it_is_alive(listen: Any) -> None:
    listener = listen()
    listener.event()
    assert listener.lines() == [": alive"]


def test_streams_beyond_the_limit_are_refused_and_requests_are_still_answered(live: Any, listen: Any, app: Any) -> None:
    for listener in [listen() for _ in range(3)]:
        listener.event()
    refused = listen()
    assert refused.response.status == 503
    assert json.loads(refused.response.read())["error"]["code"] == "busy"
    assert int(refused.response.headers["Retry-After"]) > 0
    answers = [live.get("/api/v2/runs")[0].status for _ in range(10)]
    assert answers == [200] * 10
    assert b"modeldb_event_streams 3.0" in live.get("/metrics")[1]


def test_a_client_that_hangs_up_gives_its_place_back(live: Any, listen: Any, app: Any) -> None:
    hub = app.extensions["modeldb_server"].events
    listeners = [listen() for _ in range(3)]
    for listener in listeners:
        listener.event()
        listener.close()
    wait_until(lambda: hub.streams == 0)
    listen().event()


def test_a_head_request_takes_no_place(client: Any, app: Any) -> None:
    for _ in range(5):
        assert client.request("HEAD", "/api/v2/events").status_code == 200
    assert app.extensions["modeldb_server"].events.streams == 0


def test_the_store_is_followed_only_while_someone_listens(filled: Any) -> None:
    hub = EventHub(filled.store, interval_s=0.01)
    stream = hub.open()
    followers = [thread for thread in threading.enumerate() if thread.name == "modeldb-events"]
    assert len(followers) == 1
    others = [hub.open() for _ in range(5)]
    assert [thread for thread in threading.enumerate() if thread.name == "modeldb-events"] == followers
    for item in (stream, *others):
        item.close()
        item.close()
    followers[0].join(30)
    assert not followers[0].is_alive()
    assert hub.streams == 0
    again = hub.open()
    assert b"ready" in next(again)
    again.close()
    hub.close()
    with pytest.raises(BusyError):
        hub.open()


def test_closing_the_hub_ends_its_streams(filled: Any) -> None:
    hub = EventHub(filled.store, interval_s=0.01, heartbeat_s=60)
    stream = hub.open()
    next(stream)
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (list(stream), ended.set()))
    thread.start()
    hub.close()
    assert ended.wait(30)
    thread.join(30)


def test_the_newest_cursor_is_found_in_stores_of_any_size(filled: Any) -> None:
    for count in (1, 2, 3, 30):
        for _ in range(count):
            filled.writer.beat()
        filled.apply()
        assert filled.store.end_of_log() == filled.store.read_changes(limit=10_000).cursor


def test_a_long_import_is_read_in_steps(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAGE_SIZE", 2)
    monkeypatch.setattr(events, "MAX_PAGES", 2)
    batch, at_end = read_batch(filled.store, 0)
    assert not at_end
    assert batch.cursor < filled.store.end_of_log()
    hub = EventHub(filled.store, interval_s=0.01)
    stream = hub.open(0)
    next(stream)
    event = next(stream)
    assert b'"truncated":true' in event
    stream.close()
    hub.close()


def test_following_a_store_asks_it_for_no_payloads(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page is told is which entities changed: nobody puts their points together again."""
    for _ in range(40):
        filled.writer.append(filled.run_id, {f"m{key}": [0.1] * 200 for key in range(10)})
    filled.apply()
    rebuilt, asked = [], []
    rebuild, rows = log.rebuild_payloads, Transaction.rows
    monkeypatch.setattr(log, "rebuild_payloads", lambda *given: rebuilt.append(given) or rebuild(*given))
    monkeypatch.setattr(Transaction, "rows", lambda *given: asked.append(given[1].__name__) or rows(*given))
    end = filled.store.end_of_log()
    assert asked == ["_end"]
    asked.clear()
    batch, at_end = read_batch(filled.store, 0)
    assert at_end
    assert batch.cursor == end
    assert ("run", filled.run_id, "append") in batch.entities
    assert asked == ["_touches", "_end"]
    assert not rebuilt
    assert filled.store.read_changes(limit=10_000).changes[-1].payload  # which does put them together
    assert rebuilt
