"""What a stranger put into a bundle or a folder is refused by name, and nothing else suffers or waits for it."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.objects import ObjectMetadataStore
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgumentError,
    ModelDBWarning,
    NotFoundError,
    StoreReadOnlyError,
)
from modeldb_core.journal.journal import Journal
from modeldb_core.journal.records import Draft
from modeldb_core.journal.uploads import spool
from modeldb_core.log.changes import Head
from modeldb_core.movement.archive import end_of_archive, header, padding
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.bundles import Bundle
from modeldb_core.movement.copying import copy
from modeldb_core.movement.manifest import FORMAT, FORMAT_NAME, MANIFEST_NAME, Manifest
from modeldb_core.testing import StreamWriter
from modeldb_core.testing.hostile import HOSTILE


@pytest.mark.parametrize(
    "what",
    [
        "lists, 100,000 deep",
        "a lone surrogate",
        "an integer of 4 MB",
        "metrics that are a list",
        "more rows than bytes",
    ],
)
def test_the_other_streams_of_a_bundle_with_hostile_content_arrive(tmp_path, what):
    action, kind, payload = HOSTILE[what]
    hostile, good = StreamWriter(), StreamWriter()
    hostile.open()
    hostile.write(action, kind, hostile.stream_id if kind == "stream" else "e", payload)
    run_id = good.create_run(name="good").entity_id
    with BundleWriter(tmp_path / "a.bundle") as writer:
        for change in (*hostile.changes[:1], *good.changes, *hostile.changes[1:]):
            writer.apply([change])
        writer.finish()
    files = FsspecArtifactStore(f"file://{tmp_path}/files")
    with Bundle(tmp_path / "a.bundle") as bundle, MemoryStore() as target:
        done = copy(bundle, target, artifacts=(files, files))
        assert set(done.refused) == {hostile.stream_id}
        assert f"change 2 of stream {hostile.stream_id}" in done.refused[hostile.stream_id]
        assert target.get("run", run_id).name == "good"
        assert verify(target).ok


def test_a_pipe_in_the_place_of_a_batch_stops_no_answer(tmp_path):
    url = f"file://{tmp_path}/bucket"
    writer = StreamWriter()
    run_id = writer.create_run(name="good").entity_id
    with ObjectMetadataStore(url, cache_dir=tmp_path / "one") as store:
        store.apply(writer.changes)
    (batch,) = (tmp_path / "bucket" / "streams").rglob("*.chg")
    os.mkfifo(batch.with_name(f"{2:010d}-{2:010d}-{2:016x}-{2:016x}.chg"))
    (tmp_path / "bucket" / "streams" / "loop").symlink_to(tmp_path / "bucket")
    with ObjectMetadataStore(url, cache_dir=tmp_path / "two") as store:
        assert store.get("run", run_id).name == "good"
        assert verify(store).ok
    batch.rename(tmp_path / "aside")
    os.mkfifo(batch)
    with ObjectMetadataStore(url, cache_dir=tmp_path / "two") as store:
        assert any("in no object" in str(finding) for finding in verify(store).findings)


@pytest.mark.parametrize("which", ["streams", "packs", "stream"])
def test_a_linked_folder_in_a_folder_store_is_refused_and_nothing_behind_it_removed(tmp_path, which):
    url = f"file://{tmp_path}/bucket?max_staleness_s=0&compact=false"
    writer = StreamWriter()
    writer.open()
    run_id = writer.create_run(name="good").entity_id
    with ObjectMetadataStore(url, cache_dir=tmp_path / "one") as store:
        store.apply(writer.changes)
        assert store.get("run", run_id).name == "good"
        bucket, elsewhere = tmp_path / "bucket", tmp_path / "elsewhere"
        folder = bucket / "streams" / writer.stream_id if which == "stream" else bucket / which
        names = [str(path.relative_to(bucket)) for path in folder.rglob("*") if path.is_file()]
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
        kept = sorted(path for path in elsewhere.rglob("*") if path.is_file())
        assert kept
        for work in (
            lambda: store._bucket.delete(names),
            lambda: store._bucket.read(names[0]),
            lambda: store._bucket.write(names[0], b"x"),
            lambda: store._bucket.listing(f"{folder.relative_to(bucket)}/"),
        ):
            with pytest.raises(ConfigurationError, match="is a link, and nothing in a store may lead out of it"):
                work()
        assert sorted(path for path in elsewhere.rglob("*") if path.is_file()) == kept


def test_a_linked_folder_in_an_artifact_store_leads_to_no_file_that_is_collected(tmp_path):
    other = FsspecArtifactStore(f"file://{tmp_path}/other")
    theirs = other.put(io.BytesIO(b"theirs"))
    mine = FsspecArtifactStore(f"file://{tmp_path}/mine")
    mine.put(io.BytesIO(b"mine"))
    (tmp_path / "mine" / theirs.digest[:2]).symlink_to(tmp_path / "other" / theirs.digest[:2])
    assert theirs not in list(mine.list())
    for work in (
        lambda: mine.delete(theirs.digest),
        lambda: mine.delete_stale(theirs.digest, datetime.now(UTC) + timedelta(days=1)),
    ):
        with pytest.raises(ConfigurationError, match="is a link"):
            work()
    assert other.open(theirs.digest).read() == b"theirs"


def test_a_pipe_in_the_place_of_a_bundle_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.bundle")
    with pytest.raises(NotFoundError, match="not a regular file"):
        Bundle(tmp_path / "a.bundle")


def test_an_export_writes_over_nothing_that_a_link_leads_to(tmp_path):
    precious = tmp_path / "thesis.txt"
    precious.write_text("mine")
    (tmp_path / "a.bundle.part").symlink_to(precious)
    with pytest.raises(StoreReadOnlyError, match="is a link, not a file"):
        BundleWriter(tmp_path / "a.bundle")
    assert precious.read_text() == "mine"


def test_a_manifest_that_is_longer_than_what_the_bundle_holds_is_not_parsed(tmp_path):
    path = tmp_path / "a.bundle"
    content = b"[" * (3 << 20)
    with path.open("wb") as file:
        for name, data in ((FORMAT_NAME, f"{FORMAT}\n".encode()), (MANIFEST_NAME, content)):
            file.write(header(name, len(data)) + data + padding(len(data)))
        file.write(end_of_archive())
    with pytest.raises(
        IntegrityError, match=r"3,145,728 bytes, and what it describes has 0 bytes; expected at most 1,048,576"
    ):
        Bundle(path)


def test_a_bundle_whose_manifest_no_reader_would_take_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("modeldb_core.movement.manifest.FREE_BYTES", 10)
    monkeypatch.setattr("modeldb_core.movement.manifest.BYTES_FOR_BYTE", 1)
    with BundleWriter(tmp_path / "a.bundle") as writer, pytest.raises(InvalidArgumentError, match="by project"):
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_more_streams_than_changes_is_refused_before_they_are_looked_at():
    manifest = Manifest({}, 1, "0" * 64, 0, 0, "0" * 64)
    data = json.loads(manifest.encode())
    data["heads"] = {"a": "what", "b": "ever"}
    with pytest.raises(IntegrityError, match="names 2 streams, and holds 1 changes"):
        Manifest.decode(json.dumps(data).encode())


@pytest.mark.parametrize("lease_s", [1e308, -1, float("inf"), True, "30"])
def test_a_manifest_with_a_lease_that_no_writer_has_is_refused(lease_s):
    head = Head(1, bytes(32), 1)
    manifest = Manifest({"a": head}, 1, "0" * 64, 0, 0, "0" * 64)
    assert Manifest.decode(manifest.encode()) == manifest
    with pytest.raises(IntegrityError, match="lease"):
        Manifest.decode(replace(manifest, heads={"a": replace(head, lease_s=lease_s)}).encode())


def test_renaming_an_object_of_a_bucket_changes_no_answer_unseen(tmp_path):
    url = f"file://{tmp_path}/bucket"
    first, second = StreamWriter(), StreamWriter()
    run_id = first.create_run(name="model", attributes={"verdict": "approved"}).entity_id
    second.update("run", run_id, put={"attributes": {"verdict": "rejected"}})
    with ObjectMetadataStore(url, cache_dir=tmp_path / "one", max_staleness_s=0) as store:
        store.apply(first.changes)
        store.apply(second.changes)
        assert store.get("run", run_id).attributes["verdict"] == "rejected"
    (batch,) = (tmp_path / "bucket" / "streams" / first.stream_id).glob("*.chg")
    start, last, stamp, digest = batch.stem.split("-")
    later = batch.with_name(f"{start}-{last}-{int(stamp, 16) + 10**9:016x}-{digest}.chg")
    batch.rename(later)
    with ObjectMetadataStore(url, cache_dir=tmp_path / "two", max_staleness_s=0) as store:
        with pytest.warns(ModelDBWarning, match="was renamed or altered"):
            report = verify(store)
        assert any(later.name in str(finding) for finding in report.findings)
        assert store.get("run", run_id).attributes["verdict"] == "rejected"


@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_folders_that_a_store_makes_let_nobody_else_in_and_those_of_somebody_keep_their_mode(tmp_path, mask):
    before = os.umask(mask)
    try:
        writer = StreamWriter()
        writer.open()
        (tmp_path / "shared").mkdir(mode=0o750)
        for root in (tmp_path / "deep" / "made", tmp_path / "shared"):
            FsspecArtifactStore(f"file://{root}/files").put(io.BytesIO(b"content"))
            with ObjectMetadataStore(f"file://{root}/bucket", cache_dir=tmp_path / "cache") as store:
                store.apply(writer.changes)
            journal = Journal(root / "journals", writer.stream_id, {"store_url": "memory://", "actor": "me"})
            journal.append(Draft("open", "stream", writer.stream_id, 1, b"{}").record())
            journal.abandon()
            spool(io.BytesIO(b"content"), root / "other" / writer.stream_id / "spool")
            for name in (
                "files",
                "bucket",
                "journals",
                "other",
                f"other/{writer.stream_id}",
                f"journals/{writer.stream_id}",
            ):
                assert (root / name).stat().st_mode & 0o777 == 0o700, name
        assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o750 & ~mask
    finally:
        os.umask(before)
