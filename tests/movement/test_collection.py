"""The garbage collector erases what was deleted long ago and what nothing names, and nothing else, whatever happens."""

from __future__ import annotations

import io
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import ErasedError, InvalidArgumentError, StoreUnavailableError
from modeldb_core.log.erasures import window_of
from modeldb_core.model.entities import derived_id, now_us
from modeldb_core.model.values import BlobReference
from modeldb_core.movement import collection
from modeldb_core.movement.collection import Collected, erase_deleted, remove_blobs
from modeldb_core.queries import Query
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.scene import Scene

MONTH = timedelta(days=30)
DAY_US = 24 * 3600 * 1_000_000


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Any:
    if request.param == "memory":
        yield MemoryStore()
        return
    with SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db") as store:
        yield store


@pytest.fixture
def artifacts(tmp_path: Path) -> FsspecArtifactStore:
    return FsspecArtifactStore(f"file://{tmp_path}/artifacts")


def put(artifacts: FsspecArtifactStore, content: bytes, tmp_path: Path, *, days: float = 100) -> str:
    """Store a blob that was put so many days ago."""
    digest = artifacts.put(io.BytesIO(content)).digest
    path = tmp_path / "artifacts" / digest[:2] / digest
    os.utime(path, (time.time() - days * 86400,) * 2)
    return digest


def deleted_run(store: Any, *, days: float = 40, name: str = "old", points: int = 3, **fields: Any) -> Scene:
    """Make a run that was deleted so many days ago."""
    scene = Scene(store, at=now_us() - 100 * DAY_US)
    run_id = scene.run(name, tags=["secret"], **fields)
    for number in range(points):
        scene.writer.append(run_id, {"loss": [float(number)]}, steps=[number])
    scene.writer.create("comment", parent_id=run_id, message="about it", author="me")
    comment_id = scene.writer.changes[-1].entity_id
    scene.writer.at = now_us() - int(days * DAY_US)
    scene.writer.delete("comment", comment_id)
    scene.writer.delete("run", run_id)
    scene.ship()
    return scene


def erase(store: Any, *, dry_run: bool = False, window: timedelta = MONTH) -> Collected:
    done = Collected()
    with DirectWriter(store, "collector") as writer:
        erase_deleted(writer, window, done, dry_run=dry_run)
    return done


def remove(store: Any, artifacts: Any, **options: Any) -> Collected:
    done = Collected()
    remove_blobs(store, artifacts, MONTH, done, **options)
    return done


def left(artifacts: FsspecArtifactStore) -> set[str]:
    return {info.digest for info in artifacts.list()}


# -- entities ---------------------------------------------------------------------------------------------------------


def test_what_was_deleted_long_ago_is_erased_and_leaves_a_tombstone(store: Any) -> None:
    scene = deleted_run(store, attributes={"who": "somebody"})
    run_id = scene.runs["old"]
    other = Scene(store)
    kept = other.run("kept")
    other.ship()
    done = erase(store)
    assert (done.entities, done.changes) == (2, 5)
    assert done.change_bytes > 0
    assert [(item.kind, item.name) for item in done.erased] == [("comment", ""), ("run", "old")]
    with pytest.raises(ErasedError):
        store.get("run", run_id)
    assert scene.find(include_deleted=True).entities == ()
    changes = store.read_changes(entity_id=run_id).changes
    assert [(change.action, change.actor) for change in changes if change.payload is not None] == [
        ("delete", "tester"),
        *[("erase", "collector")] * 4,
    ]
    assert all(b"somebody" not in (change.payload or b"") for change in changes)
    assert store.get("run", kept).name == "kept"
    report = verify(store)
    assert report.ok, report
    assert report.erased == 5
    assert erase(store).entities == 0


def test_dry_run_counts_the_same_and_alters_nothing(store: Any) -> None:
    deleted_run(store)
    before = dict(store.heads())
    counted = erase(store, dry_run=True)
    assert dict(store.heads()) == before
    done = erase(store)
    assert (counted.entities, counted.changes, counted.change_bytes) == (done.entities, done.changes, done.change_bytes)


def test_what_was_deleted_within_the_window_stays(store: Any) -> None:
    scene = deleted_run(store, days=29)
    assert erase(store).entities == 0
    assert scene.get(scene.runs["old"]).name == "old"
    assert erase(store, window=timedelta(days=28)).entities == 2
    run_id = scene.runs["old"]
    with pytest.raises(ErasedError):
        store.get("run", run_id)
    deletions = [change for change in store.read_changes(entity_id=run_id).changes if change.action == "delete"]
    assert [(change.actor, window_of(change) / 86_400) for change in deletions] == [("tester", 30), ("collector", 28)]
    assert verify(store).ok


def test_the_window_that_counts_is_that_of_the_last_deletion(store: Any) -> None:
    scene = Scene(store, at=now_us() - 100 * DAY_US)
    run_id = scene.run("old")
    scene.writer.delete("run", run_id, window_s=1e9)
    scene.writer.restore("run", run_id)
    scene.writer.delete("run", run_id)
    scene.ship()
    assert erase(store).entities == 1
    actions = [(change.action, change.actor) for change in store.read_changes(entity_id=run_id).changes]
    assert ("delete", "collector") not in actions, "the time for restoring was not shortened"
    with pytest.raises(ErasedError):
        store.get("run", run_id)


def test_what_somebody_says_was_deleted_before_it_was_written_has_its_window_all_the_same(store: Any) -> None:
    scene = Scene(store)
    run_id = scene.run("mine")
    scene.ship()
    stranger = StreamWriter(actor="stranger", at=1_577_836_800_000_000)  # 2020
    stranger.delete("run", run_id, window_s=0)
    store.apply(stranger.changes)
    assert erase(store).entities == 0
    scene.writer.restore("run", run_id)
    scene.ship()
    assert scene.names() == ["mine"]


def test_what_was_restored_stays(store: Any) -> None:
    scene = deleted_run(store)
    scene.writer.restore("run", scene.runs["old"])
    scene.ship()
    assert [item.kind for item in erase(store).erased] == ["comment"]
    assert scene.get(scene.runs["old"]).deleted_at is None


def test_what_is_restored_while_it_is_collected_stays(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = deleted_run(store)
    run_id = scene.runs["old"]
    real = collection.changes_of

    def restoring(*args: Any, **options: Any) -> Any:
        yield from list(real(*args, **options))
        if options["entity_id"] == run_id:
            scene.writer.restore("run", run_id)
            scene.ship()

    monkeypatch.setattr(collection, "changes_of", restoring)
    erase(store)
    assert scene.get(run_id).name == "old"
    assert "erase" not in {change.action for change in store.read_changes(entity_id=run_id).changes}


def test_a_container_goes_after_what_it_contains_and_not_before(store: Any) -> None:
    scene = Scene(store, at=now_us() - 100 * DAY_US)
    scene.run("old")
    names = [("run", scene.runs["old"]), ("experiment", scene.ids["experiment_id"]), ("project", scene.project_id)]
    scene.writer.at = now_us() - 40 * DAY_US
    for name in names:
        scene.writer.delete(*name)
    scene.ship()
    assert [item.kind for item in erase(store, dry_run=True).erased] == ["run", "experiment", "project"]
    assert [item.kind for item in erase(store).erased] == ["run", "experiment", "project"]
    for name in names:
        with pytest.raises(ErasedError):
            store.get(*name)
    assert verify(store).ok


def test_a_container_of_something_alive_stays(store: Any) -> None:
    scene = Scene(store, at=now_us() - 100 * DAY_US)
    scene.run("alive")
    scene.writer.at = now_us() - 40 * DAY_US
    scene.writer.delete("project", scene.project_id)
    scene.ship()
    done = erase(store)
    assert done.entities == 0
    assert scene.project in done.held[0]
    assert store.get("project", scene.project_id).name == scene.project


def test_points_that_came_late_are_erased_by_the_next_one(store: Any) -> None:
    scene = deleted_run(store)
    erase(store)
    late = StreamWriter()
    late.append(scene.runs["old"], {"loss": [9.0]})
    store.apply(late.changes)
    assert erase(store).changes == 1
    with pytest.raises(ErasedError):
        store.get("run", scene.runs["old"])


def test_an_erased_project_can_be_made_again(store: Any) -> None:
    scene = Scene(store)
    scene.writer.at = now_us() - 40 * DAY_US
    scene.writer.delete("experiment", scene.ids["experiment_id"])
    scene.writer.delete("project", scene.project_id)
    scene.ship()
    erase(store)
    again = StreamWriter()
    again.create_containers(scene.project, "experiment")
    store.apply(again.changes)
    assert store.get("project", scene.project_id).name == scene.project
    assert scene.project_id == derived_id("project", derived_id("workspace", "", "default"), scene.project)


@pytest.mark.parametrize("fail_at", range(4))
def test_a_collection_that_was_broken_off_is_ended_by_the_next_one(
    store: Any, fail_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_ERASURES", 2)
    scene = deleted_run(store, points=6)
    apply, calls = store.apply, []

    def failing(changes: Any) -> None:
        if len(calls) == fail_at:
            raise StoreUnavailableError("away")
        calls.append(1)
        apply(changes)

    monkeypatch.setattr(store, "apply", failing)
    with pytest.raises(StoreUnavailableError):
        erase(store)
    monkeypatch.setattr(store, "apply", apply)
    assert verify(store).ok
    erase(store)
    with pytest.raises(ErasedError):
        store.get("run", scene.runs["old"])
    assert sum(change.payload is None for change in store.read_changes(limit=1000).changes) == 8
    assert verify(store).ok


def test_many_runs_are_erased_in_one_batch_and_not_each_in_its_own(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [deleted_run(store, name=f"old {number}") for number in range(20)]
    apply, batches = store.apply, []

    def counted(changes: Any) -> None:
        batches.append(len(changes))
        apply(changes)

    monkeypatch.setattr(store, "apply", counted)
    done = erase(store)
    monkeypatch.undo()
    assert done.entities == 40
    assert len(batches) == 3, "the comments; the runs; the end of the stream"
    assert all(change.payload is None for scene in scenes for change in only_creations(store, scene))
    assert verify(store).ok


def only_creations(store: Any, scene: Scene) -> list[Any]:
    changes = [store.read_changes(entity_id=run_id).changes for run_id in scene.runs.values()]
    return [change for some in changes for change in some if change.action == "create"]


def test_one_of_many_that_is_restored_meanwhile_stays_and_the_others_go(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [deleted_run(store, name=f"old {number}") for number in range(3)]
    find, kept = store.find, scenes[1]

    def restoring(query: Any) -> Any:
        if query.filter.startswith("entity_id in") and query.kind == "run":
            kept.writer.restore("run", kept.runs["old 1"])
            kept.ship()
        return find(query)

    monkeypatch.setattr(store, "find", restoring)
    done = erase(store)
    monkeypatch.undo()
    assert [each.name for each in done.erased if each.kind == "run"] != []
    assert kept.get(kept.runs["old 1"]).name == "old 1"
    for number in (0, 2):
        with pytest.raises(ErasedError):
            store.get("run", scenes[number].runs[f"old {number}"])
    assert verify(store).ok


def test_an_artifact_store_without_files_is_collected_without_reading_a_run(
    store: Any, artifacts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted_run(store)
    monkeypatch.setattr(store, "find", None)  # calling it would fail
    assert remove(store, artifacts).kept == 0


def test_two_collections_at_once_do_no_harm(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"
    with SQLiteStore(url) as store:
        scenes = [deleted_run(store, name=f"old {number}") for number in range(5)]
        kept = Scene(store)
        kept.run("kept")
        kept.ship()
        stores = [SQLiteStore(url) for _ in range(3)]
        threads = [threading.Thread(target=erase, args=(each,)) for each in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for each in stores:
            each.close()
        for number, scene in enumerate(scenes):
            with pytest.raises(ErasedError):
                store.get("run", scene.runs[f"old {number}"])
        assert kept.names() == ["kept"]
        assert verify(store).ok


# -- blobs ------------------------------------------------------------------------------------------------------------


def test_every_place_where_a_digest_can_stand_keeps_its_blob(store: Any, artifacts: Any, tmp_path: Path) -> None:
    digests = iter(put(artifacts, b"%d" % number, tmp_path) for number in range(12))
    kept = []

    def one() -> str:
        kept.append(next(digests))
        return kept[-1]

    scene = Scene(store)
    scene.run(
        "run",
        artifacts={"model/m.skops": {"digest": one(), "size_bytes": 1, "model": {"format": "skops", "extra": one()}}},
        hyperparameters={"big": BlobReference(one(), 1), "deep": {"list": [1, {"x": BlobReference(one(), 1)}]}},
        code={"diff": BlobReference(one(), 1)},
        environment={"packages": BlobReference(one(), 1)},
        invented_later={"somewhere": [f"sha256:{one()}"]},
    )
    scene.writer.create("model_version", artifacts={"model": {"digest": one()}})
    scene.writer.create("commit", blobs={"data.csv": {"digest": one(), "type": "dataset"}})
    scene.writer.create("dataset_version", info={"profile": BlobReference(one(), 1)})
    scene.writer.update("project", scene.project_id, put={"artifacts": {"a": {"digest": one()}}})
    gone = next(digests)
    scene.ship()
    done = remove(store, artifacts)
    assert (done.blobs, done.kept) == (1, 11)
    assert left(artifacts) == set(kept)
    assert gone not in kept


def test_blobs_of_deleted_runs_stay_until_those_are_erased(store: Any, artifacts: Any, tmp_path: Path) -> None:
    digest, shared = put(artifacts, b"own", tmp_path), put(artifacts, b"shared", tmp_path)
    entries = {name: {"digest": value} for name, value in (("own", digest), ("shared", shared))}
    deleted_run(store, artifacts=entries)
    other = Scene(store)
    other.run("other", artifacts={"shared": {"digest": shared}})
    other.ship()
    assert remove(store, artifacts).blobs == 0
    counted = remove(store, artifacts, window=MONTH, dry_run=True)
    assert (counted.blobs, counted.blob_bytes) == (1, 3)
    assert len(left(artifacts)) == 2
    erase(store)
    assert remove(store, artifacts).blobs == 1
    assert left(artifacts) == {shared}


def test_a_young_blob_stays_and_a_put_makes_one_young(store: Any, artifacts: Any, tmp_path: Path) -> None:
    scene = Scene(store)
    scene.run("run", artifacts={"a": {"digest": put(artifacts, b"used", tmp_path)}})
    scene.ship()
    young = put(artifacts, b"young", tmp_path, days=30.5)  # a blob may look a day older than it is
    again = put(artifacts, b"again", tmp_path)
    old = put(artifacts, b"old", tmp_path, days=31.5)
    artifacts.put(io.BytesIO(b"again"))
    done = remove(store, artifacts)
    assert (done.blobs, done.young) == (1, 2)
    assert {young, again} < left(artifacts)
    assert old not in left(artifacts)


def test_a_blob_that_is_put_again_in_the_last_moment_stays(
    store: Any, artifacts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(store)
    scene.run("run", artifacts={"a": {"digest": put(artifacts, b"used", tmp_path)}})
    scene.ship()
    digest = put(artifacts, b"late", tmp_path)
    real = os.rename

    def putting(*args: Any) -> None:
        artifacts.put(io.BytesIO(b"late"))
        real(*args)

    monkeypatch.setattr(os, "rename", putting)
    done = remove(store, artifacts)
    assert (done.blobs, done.young) == (0, 1)
    with artifacts.open(digest) as stream:
        assert stream.read() == b"late"


def test_a_store_that_knows_none_of_the_blobs_removes_none(store: Any, artifacts: Any, tmp_path: Path) -> None:
    put(artifacts, b"somebody else's", tmp_path)
    with pytest.raises(InvalidArgumentError, match="another store"):
        remove(store, artifacts)
    assert len(left(artifacts)) == 1
    assert remove(store, artifacts, force=True).blobs == 1


def test_blobs_of_unknown_age_stay(store: Any, artifacts: Any, tmp_path: Path) -> None:
    from modeldb_core.stores import BlobInfo

    class Ageless(FsspecArtifactStore):
        def list(self) -> Any:
            return (BlobInfo(info.digest, info.size_bytes) for info in super().list())

    put(artifacts, b"old", tmp_path)
    done = remove(store, Ageless(artifacts.url), force=True)
    assert (done.blobs, done.ageless) == (0, 1)


def test_many_blobs_are_looked_up_in_parts(
    store: Any, artifacts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_BLOBS", 7)
    monkeypatch.setattr(collection, "_DOCUMENTS", 3)
    scene = Scene(store)
    kept = set()
    for number in range(40):
        digest = put(artifacts, b"%d" % number, tmp_path)
        if number % 2:
            kept.add(digest)
            scene.run(f"run {number}", artifacts={"a": {"digest": digest}})
    scene.ship()
    done = remove(store, artifacts)
    assert (done.blobs, done.kept) == (20, 20)
    assert left(artifacts) == kept
    assert scene.find(count=True).total == 20


def test_collecting_while_runs_log_loses_nothing(tmp_path: Path, artifacts: Any) -> None:
    import modeldb_core as modeldb

    url = f"sqlite:///{tmp_path}/modeldb.db"
    settings = {"artifact_url": artifacts.url, "journal_dir": tmp_path / "journals", "capture_enabled": False}
    contents = [b"content %d" % number for number in range(40)]
    for content in contents:
        put(artifacts, content, tmp_path)  # all of them old, and nothing names them
    stop = threading.Event()
    with modeldb.connect(url, flush_interval_s=0.05, **settings) as client:
        with client.start_run("p", "e", "first") as first:
            first.log_artifact(contents[0], name="a")
        client.flush()

        def collect() -> None:
            with SQLiteStore(url) as own:
                while not stop.is_set():
                    remove(own, artifacts)

        thread = threading.Thread(target=collect)
        thread.start()
        with client.start_run("p", "e", "second") as run:
            for number, content in enumerate(contents):
                run.log_artifact(content, name=f"{number}.bin")
        stop.set()
        thread.join()
        for number, content in enumerate(contents):
            assert run.read_artifact(f"{number}.bin") == content
        remove(client.store, artifacts)
        assert verify(client.store, client.artifacts).ok
        assert client.store.find(Query(count=True, limit=0)).total == 2
