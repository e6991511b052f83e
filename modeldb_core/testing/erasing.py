"""What erasures do, and what they do not: part of the tests that every metadata store must pass."""

from __future__ import annotations

from itertools import permutations
from typing import ClassVar

import pytest

from modeldb_core.errors import ErasedError
from modeldb_core.log.changes import verify_change
from modeldb_core.stores import MetadataStore
from modeldb_core.testing.scene import Scene, StoreCase
from modeldb_core.testing.streams import StreamWriter, read_stream


class ErasureTests(StoreCase):
    """What :meth:`~modeldb_core.stores.MetadataStore.apply` does with ``erase`` changes (:mod:`modeldb_core.log.erasures`)."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.apply, MetadataStore.read_changes)

    def test_erased_payload_is_gone_and_the_chain_verifies(self, scene: Scene) -> None:
        run_id = scene.run("kept")
        secret = scene.writer.update("run", run_id, put={"attributes": {"secret": "s3cr3t"}})
        points = scene.writer.append(run_id, {"loss": [7.0]})
        scene.writer.append(run_id, {"loss": [8.0]})
        scene.ship()
        scene.writer.erase(secret)
        scene.writer.erase(points)
        scene.ship()
        stored = read_stream(scene.store, scene.writer.stream_id)
        previous = bytes(32)
        for change in stored:
            verify_change(change, previous)
            previous = change.hash
        assert [change.seq for change in stored if change.payload is None] == [secret.seq, points.seq]
        assert all(change.salt is None for change in stored if change.payload is None)
        run = scene.get(run_id)
        assert run.name == "kept"
        assert "secret" not in run.attributes
        assert scene.names('attributes.secret = "s3cr3t"') == []
        assert scene.store.read_series(run_id, "loss").values.tolist() == [8.0]
        assert run.series["loss"].count == 1
        scene.store.apply(scene.writer.changes)
        assert "secret" not in scene.get(run_id).attributes
        assert read_stream(scene.store, scene.writer.stream_id) == stored

    def test_what_was_erased_before_it_arrived_stays_out(self, scene: Scene) -> None:
        late = StreamWriter()
        run_id = late.create("run", name="s3cr3t").entity_id
        scene.writer.erase(late.changes[0])
        scene.ship()
        scene.store.apply(late.changes)
        assert scene.store.get("run", run_id).name == ""
        assert read_stream(scene.store, late.stream_id)[0].payload is None

    def test_others_erase_nothing_of_what_is_not_deleted(self, scene: Scene) -> None:
        run_id, other = scene.run("living", metrics={"auc": 0.5}), scene.run("other")
        points = scene.writer.append(run_id, {"loss": [1.0]})
        scene.ship()
        stranger = StreamWriter(actor="stranger")
        created = next(change for change in scene.writer.changes if change.entity_id == run_id)
        stranger.erase(created)
        stranger.erase(points)
        elsewhere = {"stream_id": points.stream_id, "seq": points.seq, "hash": points.hash.hex()}
        stranger.write("erase", "run", other, elsewhere)
        scene.writer.delete("run", other)
        later = scene.writer.append(run_id, {"loss": [2.0]})
        stranger.write("erase", "run", run_id, {**elsewhere, "seq": later.seq, "hash": "0" * 64})
        stranger.erase(later)
        scene.store.apply(stranger.changes)
        scene.ship()
        assert (scene.get(run_id).name, scene.get(run_id).metrics["auc"]) == ("living", 0.5)
        assert scene.store.read_series(run_id, "loss").values.tolist() == [1.0, 2.0]
        assert read_stream(scene.store, stranger.stream_id) == stranger.changes
        assert read_stream(scene.store, scene.writer.stream_id) == scene.writer.changes

    def test_others_erase_only_what_cannot_be_restored_any_more(self, scene: Scene) -> None:
        month_us = 30 * 24 * 3600 * 1_000_000
        run_id, again = scene.run("gone"), scene.run("restored")
        scene.ship()
        created = {change.entity_id: change for change in scene.writer.changes}
        deleter, eraser = StreamWriter(actor="deleter"), StreamWriter(actor="eraser")
        for each in (run_id, again):
            deleter.delete("run", each)
        deleter.restore("run", again)
        scene.store.apply(deleter.changes)
        eraser.at = deleter.changes[0].recorded_at + month_us - 1
        eraser.erase(created[run_id])
        scene.store.apply(eraser.changes)
        assert scene.get(run_id).name == "gone"
        eraser.erase(created[run_id])
        eraser.at += 1000
        eraser.erase(created[again])
        scene.store.apply(eraser.changes)
        assert scene.get(again).name == "restored"
        with pytest.raises(ErasedError):
            scene.get(run_id)

    @pytest.mark.parametrize("order", sorted(permutations(range(3))))
    def test_an_erasure_waits_for_what_it_names_and_for_the_deletion(
        self, scene: Scene, order: tuple[int, int, int]
    ) -> None:
        author, deleter, eraser = (StreamWriter(actor=name) for name in ("author", "deleter", "eraser"))
        created = author.create("run", name="secret", **scene.ids)
        deleter.delete("run", created.entity_id, window_s=0)
        eraser.at = deleter.at
        eraser.erase(created)
        for number in order:
            scene.store.apply((author, deleter, eraser)[number].changes)
        (kept,) = read_stream(scene.store, author.stream_id)
        # Anyone who makes what was deleted brings it back: then there is nothing that may be erased.
        assert (kept.payload is None) == (order.index(0) < order.index(1))

    def test_what_is_said_of_a_stream_cannot_be_erased(self, scene: Scene, store: MetadataStore) -> None:
        other = StreamWriter()
        opened = other.open(lease_s=77.0)
        scene.writer.erase(opened)
        store.apply([*other.changes, *scene.writer.changes])  # in one batch, and in the order of their arrival
        assert store.heads()[other.stream_id].lease_s == 77.0
        assert read_stream(store, other.stream_id) == other.changes

    def test_an_erased_stream_can_be_copied_to_another_store(self, scene: Scene) -> None:
        run_id = scene.run("secret")
        erased = [change.erased() if change.entity_id == run_id else change for change in scene.writer.changes]
        scene.store.apply(erased)
        assert scene.get(run_id).name == ""
        assert read_stream(scene.store, scene.writer.stream_id) == erased
        scene.store.apply(scene.writer.changes)  # from a store that has not heard of the erasure
        assert scene.get(run_id).name == ""
        assert read_stream(scene.store, scene.writer.stream_id) == erased
