"""The order of changes of different streams is in no chain: a checkpoint shows whether somebody exchanged them."""

from __future__ import annotations

import pytest

from modeldb_core.audit import Checkpoint, verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.objects import ObjectMetadataStore
from modeldb_core.backends.objects.layout import Part, object_of
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.bundles import Bundle
from modeldb_core.movement.copying import copy
from modeldb_core.plugins import open_store
from modeldb_core.testing import StreamWriter
from tests.services.server import serving

AT = 1_700_000_000_000_000


def update(run_id, review):
    writer = StreamWriter(at=AT)
    writer.update("run", run_id, put={"attributes": {"review": review}})
    writer.close()
    return writer.changes


@pytest.fixture
def scene():
    """Return a run, its approval and its rejection, each in a stream of its own."""
    writer = StreamWriter(at=AT)
    run_id = writer.create_run(name="candidate").entity_id
    return run_id, writer.changes, update(run_id, "approved"), update(run_id, "rejected")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request, tmp_path):
    """Return a function that makes an empty store."""
    stores, databases = [], []

    def make():
        if request.param == "memory":
            return MemoryStore()
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/{len(stores)}.db"
        else:
            databases.append(url := request.getfixturevalue("postgres").new_database())
        stores.append(open_store(url))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
    for url in databases:
        request.getfixturevalue("postgres").give_back(url)


def review_of(store, run_id):
    return store.get("run", run_id).attributes["review"]


def fill(store, *streams):
    for changes in streams:
        store.apply(changes)
    return store


def test_exchanged_changes_of_two_streams_show_against_a_checkpoint(make, scene, tmp_path):
    run_id, start, approval, rejection = scene
    honest = fill(make(), start, approval, rejection)
    Checkpoint.of(honest).write(tmp_path / "honest.json")
    checkpoint = Checkpoint.read(tmp_path / "honest.json")
    forged = fill(make(), start, rejection, approval)
    assert (review_of(honest, run_id), review_of(forged, run_id)) == ("rejected", "approved")
    assert verify(honest, checkpoint=checkpoint).ok
    report = verify(forged)
    assert report.ok
    assert "1 entities were written by several streams" in str(report)
    assert "only against a checkpoint" in str(report)
    report = verify(forged, checkpoint=checkpoint)
    assert [finding.aspect for finding in report.findings] == ["checkpoint"]
    assert "another order" in report.findings[0].message


def test_a_change_that_was_put_before_what_a_checkpoint_saw_shows(make, scene):
    run_id, start, approval, rejection = scene
    honest = fill(make(), start, approval)
    checkpoint = Checkpoint.of(honest)
    fill(honest, rejection)
    assert verify(honest, checkpoint=checkpoint).ok
    forged = fill(make(), start, rejection, approval)
    report = verify(forged, checkpoint=checkpoint)
    assert [finding.subject for finding in report.findings] == [f"run {run_id}"]


def test_a_store_that_goes_on_and_its_copies_keep_to_their_checkpoint(make, scene, tmp_path):
    run_id, start, approval, rejection = scene
    store = fill(make(), start, approval)
    checkpoint = Checkpoint.of(store)
    fill(store, rejection, update(run_id, "approved"))
    report = verify(store, checkpoint=checkpoint)
    assert report.ok
    assert report.has_order
    assert "1 of the 1 entities that several streams wrote have changes since the checkpoint" in str(report)
    assert "since the checkpoint" not in str(verify(store, checkpoint=Checkpoint.of(store)))
    for url in (f"sqlite:///{tmp_path}/copy.db", f"file://{tmp_path}/bucket?cache_dir={tmp_path}/cache"):
        with open_store(url) as other:
            copy(store, other)
            assert verify(other, checkpoint=checkpoint).findings == []


def test_exchanged_changes_in_a_bundle_show_against_a_checkpoint(scene, tmp_path):
    _, start, approval, rejection = scene
    honest = fill(MemoryStore(), start, approval, rejection)
    checkpoint = Checkpoint.of(honest)
    for store, findings in ((honest, 0), (fill(MemoryStore(), start, rejection, approval), 1)):
        path = tmp_path / f"{findings}.bundle"
        with BundleWriter(path) as writer:
            copy(store, writer)
            writer.finish()
        with Bundle(path) as bundle:
            assert len(verify_bundle(bundle, checkpoint=checkpoint).findings) == findings


class Folder:
    """A bucket in a folder; each machine has a replica of its own."""

    def __init__(self, folder):
        self.root, self._folder, self._stores = folder / "bucket", folder, []

    def put(self, stamp, changes):
        """Write an object as a writer of the bucket can; return its path."""
        name, content = object_of(Part(stamp, tuple(changes)))
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def open(self, machine):
        store = ObjectMetadataStore(f"file://{self.root}", cache_dir=self._folder / machine, max_staleness_s=0)
        self._stores.append(store)
        return store

    def close(self):
        for store in self._stores:
            store.close()


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    yield folder
    folder.close()


def test_an_object_that_was_written_again_with_a_later_stamp_shows(folder, scene):
    run_id, start, approval, rejection = scene
    folder.put(10, start)
    approved_at = folder.put(20, approval)
    folder.put(30, rejection)
    old = folder.open("old")
    checkpoint = Checkpoint.of(old)
    assert verify(old, checkpoint=checkpoint).ok
    approved_at.unlink()
    folder.put(40, approval)
    new = folder.open("new")
    assert (review_of(old, run_id), review_of(new, run_id)) == ("rejected", "approved")
    assert verify(new).ok
    assert "only against a checkpoint" in str(verify(new))
    for store in (old, new):
        findings = verify(store, checkpoint=checkpoint).findings
        assert [finding.aspect for finding in findings if finding.aspect == "checkpoint"] == ["checkpoint"]
    (finding,) = verify(old).findings  # it knows what it has seen
    assert f"run {run_id} reads otherwise on a machine that sees" in finding.message


def test_what_comes_late_and_what_is_compacted_keeps_to_a_checkpoint(folder, scene):
    run_id, start, approval, rejection = scene
    folder.put(10, start)
    folder.put(30, approval)
    store = folder.open("one")
    checkpoint = Checkpoint.of(store)
    folder.put(20, rejection)  # of a machine that was offline, or whose clock is behind
    assert verify(store, checkpoint=checkpoint).findings == []
    after = Checkpoint.of(store)
    assert store.compact().packs == 1
    folder.put(40, update(run_id, "rejected"))
    for machine in ("one", "two"):
        for each in (checkpoint, after):
            assert verify(folder.open(machine), checkpoint=each).findings == []


def test_the_order_shows_through_a_server_that_stands_on_a_bucket(folder, scene, tmp_path):
    _, start, approval, rejection = scene
    folder.put(10, start)
    approved_at = folder.put(20, approval)
    folder.put(30, rejection)
    artifacts = FsspecArtifactStore(f"file://{tmp_path}/artifacts")
    with serving(folder.open("old"), artifacts) as url, open_store(url) as store:
        checkpoint = Checkpoint.of(store)
        assert checkpoint.order == Checkpoint.of(folder.open("old")).order
        assert verify(store, checkpoint=checkpoint).ok
    approved_at.unlink()
    folder.put(40, approval)
    with serving(folder.open("new"), artifacts) as url, open_store(url) as store:
        (finding,) = verify(store, checkpoint=checkpoint).findings
    assert "another order" in finding.message
