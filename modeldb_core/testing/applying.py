"""How a store takes changes: chains, conflicts, gaps, repetition, all or nothing, and many writers at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from modeldb_core.errors import (
    ConflictError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    StreamGapError,
)
from modeldb_core.log.changes import EMPTY_HEAD, STREAM, Head, seal, verify_change
from modeldb_core.log.points import PointGroup, decode_points, encode_points
from modeldb_core.model.entities import new_id, now_us
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.hostile import HOSTILE
from modeldb_core.testing.scene import Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter, end_of, read_stream

_POINT = PointGroup(("loss",), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((1, 1)))


class ApplyTests(StoreCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.apply` promises, and what of the changes can be read back."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.apply, MetadataStore.read_changes, MetadataStore.head)

    def test_changes_come_back_as_they_were_sealed(self, scene: Scene) -> None:
        run_id = scene.run(attributes={"text": "käse\n", "nested": {"list": [1, None, {"$x": float("nan")}]}})
        scene.writer.append(run_id, {"loss": [1.0, float("nan"), -0.0], "acc": [0.1, 0.2, 0.3]}, steps=[5, 3, 3])
        scene.writer.beat()
        scene.writer.delete("run", run_id)
        scene.writer.close()
        scene.ship()
        assert read_stream(scene.store, scene.writer.stream_id) == scene.writer.changes

    def test_stored_chain_verifies(self, scene: Scene) -> None:
        run_id = scene.run()
        for number in range(20):
            scene.writer.append(run_id, {"loss": np.linspace(0, number, 50).tolist()})
        scene.ship()
        previous = bytes(32)
        for change in read_stream(scene.store, scene.writer.stream_id):
            verify_change(change, previous)
            previous = change.hash
        assert previous == scene.writer.changes[-1].hash

    def test_applying_nothing_is_fine(self, store: MetadataStore) -> None:
        store.apply([])

    def test_seen_changes_are_skipped(self, scene: Scene) -> None:
        run_id = scene.run(metrics={"auc": 1.0})
        scene.writer.append(run_id, {"loss": [1.0, 2.0]})
        scene.ship()
        scene.writer.append(run_id, {"loss": [3.0]})
        scene.store.apply(scene.writer.changes)
        scene.store.apply(scene.writer.changes)
        assert scene.store.read_series(run_id, "loss").values.tolist() == [1.0, 2.0, 3.0]
        assert read_stream(scene.store, scene.writer.stream_id) == scene.writer.changes

    def test_a_change_twice_in_a_batch_counts_once(self, scene: Scene) -> None:
        run_id = scene.run()
        change = scene.writer.append(run_id, {"loss": [1.0]})
        scene.store.apply([*scene.writer.changes, change])
        assert len(scene.store.read_series(run_id, "loss")) == 1

    def test_overlapping_batches_are_told_apart(self, scene: Scene) -> None:
        run_id = scene.run()
        for number in range(6):
            scene.writer.append(run_id, {"loss": [float(number)]})
        changes = scene.writer.changes
        for first, last in ((0, 6), (2, 8), (4, 11), (0, 11)):
            scene.store.apply(changes[first:last])
        assert scene.store.read_series(run_id, "loss").values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]

    def test_another_change_under_a_known_number_is_a_conflict(self, scene: Scene) -> None:
        scene.ship()
        rival = StreamWriter(scene.writer.stream_id)
        rival.open(lease_s=99)
        run_id = rival.create("run", name="never").entity_id
        with pytest.raises(ConflictError, match=scene.writer.stream_id):
            scene.store.apply(rival.changes)
        with pytest.raises(NotFoundError):
            scene.store.get("run", run_id)

    def test_a_change_whose_payload_was_withheld_is_refused_and_never_taken_for_an_erased_one(
        self, scene: Scene
    ) -> None:
        run_id = scene.run(name="whole")
        withheld = [
            change.without_payload() if change.entity_id == run_id else change for change in scene.writer.changes
        ]
        with pytest.raises(InvalidArgumentError, match="withheld"):
            scene.store.apply(withheld)
        with pytest.raises(NotFoundError):
            scene.store.get("run", run_id)
        scene.store.apply(scene.writer.changes)
        assert scene.store.get("run", run_id).name == "whole"

    def test_a_conflict_anywhere_in_a_batch_stops_all_of_it(self, scene: Scene) -> None:
        scene.ship()
        good, rival = StreamWriter(), StreamWriter(scene.writer.stream_id)
        run_id = good.create_run(name="good").entity_id
        rival.open(lease_s=99)
        with pytest.raises(ConflictError):
            scene.store.apply([*good.changes, *rival.changes])
        with pytest.raises(NotFoundError):
            scene.store.get("run", run_id)
        assert good.stream_id not in scene.store.heads()
        assert scene.store.heads()[scene.writer.stream_id].hash == scene.writer.changes[-1].hash

    def test_content_that_no_writer_makes_is_refused(self, scene: Scene) -> None:
        scene.ship()
        for what, (action, kind, payload) in HOSTILE.items():
            hostile, good = StreamWriter(), StreamWriter()
            hostile.open()
            run_id = good.create_run(name="good").entity_id
            hostile.write(action, kind, hostile.stream_id if kind == STREAM else new_id(), payload)
            with pytest.raises((InvalidArgumentError, IntegrityError), match=f"change 2 of stream {hostile.stream_id}"):
                scene.store.apply([*good.changes, *hostile.changes])  # holds what HOSTILE says
            with pytest.raises(NotFoundError):
                scene.store.get("run", run_id)
            scene.store.apply(good.changes)
            assert scene.store.get("run", run_id).name == "good", what
        assert hostile.stream_id not in scene.store.heads()

    @pytest.mark.parametrize(
        "said", [{"recorded_at": 2**63}, {"entity_id": "a\0b"}, {"entity_id": "e" * 5000}, {"stream_id": "\0"}]
    )
    def test_a_change_whose_head_lies_is_refused(self, store: MetadataStore, said: dict[str, Any]) -> None:
        fields: dict[str, Any] = {"stream_id": new_id(), "recorded_at": now_us(), "entity_id": new_id(), **said}
        rest: dict[str, Any] = {"actor": "a", "action": "create", "kind": "run", "payload": b"{}", "salt": bytes(16)}
        change = seal(seq=1, previous_hash=bytes(32), **fields, **rest)
        with pytest.raises(InvalidArgumentError, match="change 1 of stream"):
            store.apply([change])
        assert not store.heads()

    def test_a_missing_number_is_a_gap_and_says_which_one(self, scene: Scene) -> None:
        scene.ship()
        first = scene.run("first")
        scene.run("second")
        with pytest.raises(StreamGapError) as caught:
            scene.store.apply(scene.writer.changes[-1:])
        assert caught.value.expected == len(scene.writer.changes) - 1
        with pytest.raises(NotFoundError):
            scene.store.get("run", first)

    def test_a_stream_that_begins_late_is_a_gap(self, store: MetadataStore) -> None:
        writer = StreamWriter()
        writer.open()
        writer.create_run()
        with pytest.raises(StreamGapError) as caught:
            store.apply(writer.changes[1:])
        assert caught.value.expected == 1
        assert writer.stream_id not in store.heads()

    @pytest.mark.parametrize(
        "altered",
        [
            {"payload": b'{"name":"forged"}'},
            {"salt": bytes(16)},
            {"actor": "somebody else"},
            {"entity_id": "another"},
            {"recorded_at": 1},
            {"action": "update"},
            {"kind": "project"},
            {"payload_digest": bytes(32)},
            {"previous_hash": bytes(32)},
            {"hash": bytes(32)},
        ],
        ids=lambda altered: next(iter(altered)),
    )
    def test_an_altered_change_is_refused(self, scene: Scene, altered: dict[str, Any]) -> None:
        scene.ship()
        kept = scene.run("kept")
        forged = scene.run("forged")
        changes = scene.writer.changes[-2:]
        with pytest.raises(IntegrityError):
            scene.store.apply([changes[0], replace(changes[1], **altered)])
        for run_id in (kept, forged):
            with pytest.raises(NotFoundError):
                scene.store.get("run", run_id)
        scene.store.apply(changes)
        assert scene.get(forged).name == "forged"

    @pytest.mark.parametrize(
        ("action", "kind", "payload"),
        [
            ("create", "run", b"{not json"),
            ("create", "run", b'{"started_at":"yesterday"}'),
            ("update", "run", b'{"put":{"metrics":[1]}}'),
            ("update", "run", b'{"set":5}'),
            ("append", "run", b"PTS1\x01"),
            ("append", "run", b"{}"),
            ("append", "project", encode_points([_POINT])),
        ],
    )
    def test_a_payload_that_means_nothing_is_refused_whole(
        self, scene: Scene, action: str, kind: str, payload: bytes
    ) -> None:
        run_id = scene.run("kept out")
        scene.writer.write(action, kind, new_id(), payload)
        with pytest.raises((InvalidArgumentError, IntegrityError)):
            scene.ship()
        with pytest.raises(NotFoundError):
            scene.store.get("run", run_id)
        assert scene.writer.stream_id not in scene.store.heads()

    def test_what_a_newer_client_says_is_carried(self, scene: Scene) -> None:
        run_id, castle = scene.run("kept"), new_id()
        scene.ship()
        writer = scene.writer
        newer = [
            ("create", "castle", castle, b'{"name":"Windsor","towers":{"$int":"12"}}'),
            ("update", "castle", castle, b'{"put":{"rooms":{"hall":1}}}'),
            ("append", "castle", castle, b"towers in a form of their own"),
            ("fly", "run", run_id, b'{"set":{"name":"altered"}}'),
            ("fly", "run", new_id(), b"not even JSON"),
            ("rewind", STREAM, writer.stream_id, b'{"lease_s":-5}'),
        ]
        for action, kind, entity_id, payload in newer:
            writer.write(action, kind, entity_id, payload)
        writer.update("run", run_id, set={"description": "the stream goes on"})
        scene.ship()
        run = scene.get(run_id)
        assert (run.name, run.description) == ("kept", "the stream goes on")
        assert [entity.entity_id for entity in scene.find().entities] == [run_id]
        page = scene.store.read_changes(stream_id=writer.stream_id, limit=100)
        assert list(page.changes) == writer.changes, "a change came back altered"
        assert scene.store.heads()[writer.stream_id].seq == len(writer.changes)

    def test_heads_say_what_has_arrived(self, scene: Scene) -> None:
        writer = scene.writer
        writer.beat(lease_s=45.5)
        scene.ship()
        last = writer.changes[-1]
        assert scene.store.heads()[writer.stream_id] == Head(last.seq, last.hash, last.recorded_at, 45.5, closed=False)
        last = writer.close()
        scene.ship()
        closed = Head(last.seq, last.hash, last.recorded_at, 45.5, closed=True)
        assert scene.store.heads()[writer.stream_id] == scene.store.head(writer.stream_id) == closed

    def test_a_stream_of_which_nothing_arrived_has_an_empty_head(self, scene: Scene) -> None:
        other = StreamWriter()
        scene.run(stream_id=other.stream_id)  # names it, and says nothing of what it holds
        scene.ship()
        assert scene.store.head(other.stream_id) == scene.store.head("nowhere") == EMPTY_HEAD

    def test_changes_come_in_the_order_of_their_arrival(self, scene: Scene) -> None:
        scene.ship()
        other = StreamWriter()
        other.open()
        entity_id = new_id()
        other.create("run", entity_id, name="one")
        start = end_of(scene.store)
        scene.store.apply(other.changes)
        scene.writer.update("run", entity_id, set={"name": "two"})
        scene.ship()
        other.update("run", entity_id, set={"name": "three"})
        scene.store.apply(other.changes)
        expected = [other.changes[1], scene.writer.changes[-1], other.changes[2]]
        page = scene.store.read_changes(after=start, limit=2, entity_id=entity_id)
        assert list(page.changes) == expected[:2]
        page = scene.store.read_changes(after=page.cursor, limit=2, entity_id=entity_id)
        assert list(page.changes) == expected[2:]

    def test_a_cursor_follows_the_store(self, scene: Scene) -> None:
        scene.ship()
        cursor = end_of(scene.store)
        assert scene.store.read_changes(after=cursor).changes == ()
        assert scene.store.read_changes(after=cursor).cursor >= cursor
        run_id = scene.run()
        scene.ship()
        page = scene.store.read_changes(after=cursor, entity_id=run_id)
        assert [change.entity_id for change in page.changes] == [run_id]
        assert scene.store.read_changes(after=page.cursor, entity_id=run_id).changes == ()

    def test_streams_of_many_threads_all_arrive(self, scene: Scene) -> None:
        scene.ship()
        store, count = scene.store, 8
        start = threading.Barrier(count)

        def write(number: int) -> str:
            writer = StreamWriter()
            writer.open()
            run_id = writer.create_run(name=f"run {number}", **scene.ids).entity_id
            start.wait()
            for step in range(10):
                writer.append(run_id, {"loss": [float(step)]}, steps=[step])
                store.apply(writer.changes[-3:] if step else writer.changes)
            return run_id

        with ThreadPoolExecutor(count) as pool:
            run_ids = list(pool.map(write, range(count)))
        for run_id in run_ids:
            assert store.read_series(run_id, "loss").steps.tolist() == list(range(10))
        assert len(scene.find().entities) == count

    def test_threads_that_send_the_same_stream_record_it_once(self, scene: Scene) -> None:
        run_id = scene.run()
        for step in range(5):
            scene.writer.append(run_id, {"loss": [float(step)]})
        start = threading.Barrier(4)

        def send(_: int) -> None:
            start.wait()
            scene.store.apply(scene.writer.changes)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, range(4)))
        assert scene.store.read_series(run_id, "loss").values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert read_stream(scene.store, scene.writer.stream_id) == scene.writer.changes

    def test_readers_see_a_batch_whole_or_not_at_all(self, scene: Scene) -> None:
        scene.ship()
        seen: list[tuple[int, int]] = []
        done = threading.Event()
        entity_id, other_id = new_id(), new_id()
        scene.writer.create("run", entity_id, **scene.ids, attributes={"n": 0})
        scene.writer.create("run", other_id, **scene.ids, attributes={"n": 0})
        scene.ship()

        def read() -> None:
            while not done.is_set():
                runs = {run.entity_id: run.attributes["n"] for run in scene.find().entities}
                seen.append((runs[entity_id], runs[other_id]))

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(1, 20):
            for name in (entity_id, other_id):
                scene.writer.update("run", name, put={"attributes": {"n": number}})
            scene.ship()
        done.set()
        reader.join()
        assert all(one == other for one, other in seen)

    def test_another_handle_sees_what_was_applied(self, scene: Scene, second_store: MetadataStore) -> None:
        run_id = scene.run("shared")
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        assert second_store.get("run", run_id) == scene.store.get("run", run_id)
        assert second_store.read_series(run_id, "loss").values.tolist() == [1.0]
        late = StreamWriter()
        late.update("run", run_id, set={"name": "renamed"})
        second_store.apply(late.changes)
        assert scene.get(run_id).name == "renamed"

    def test_a_stream_goes_on_after_the_store_was_reopened(self, scene: Scene, second_store: MetadataStore) -> None:
        run_id = scene.run("first")
        scene.ship()
        scene.store.close()
        scene.store = second_store
        scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        assert second_store.read_series(run_id, "loss").values.tolist() == [1.0]
        assert read_stream(second_store, scene.writer.stream_id) == scene.writer.changes

    def test_closing_twice_is_no_error(self, store: MetadataStore) -> None:
        store.close()
        store.close()

    def test_a_large_change_survives(self, scene: Scene) -> None:
        text = "x" * 10_000_000
        run_id = scene.run(attributes={"text": text})
        count = 200_000
        scene.writer.append(run_id, {"loss": np.arange(count, dtype=float).tolist()}, times=[now_us()] * count)
        scene.ship()
        assert scene.get(run_id).attributes["text"] == text
        stored = read_stream(scene.store, scene.writer.stream_id)
        assert len(decode_points(stored[-1].payload or b"")[0]) == count
        assert stored == scene.writer.changes
