"""A bundle brings everything back, verifies by itself, and is refused in a sentence wherever it is not what it was."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import tarfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from modeldb_core.audit import Checkpoint, verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import (
    AlreadyExistsError,
    ErasedError,
    IntegrityError,
    InvalidArgumentError,
    ModelDBError,
    NotFoundError,
    StoreReadOnlyError,
    StoreVersionError,
)
from modeldb_core.log.withholding import Withholding
from modeldb_core.movement.archive import end_of_archive, header, padding, read_members
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundle_store import BundleArtifactStore, BundleStore
from modeldb_core.movement.bundle_writer import BundleWriter
from modeldb_core.movement.bundles import Bundle
from modeldb_core.movement.copying import copy
from modeldb_core.movement.manifest import FORMAT, Manifest
from modeldb_core.movement.selection import select
from modeldb_core.movement.withholding import needed_with
from modeldb_core.queries import Query
from modeldb_core.testing.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from modeldb_core.stores import MetadataStore


def fill(store: MetadataStore, artifacts: FsspecArtifactStore) -> Scene:
    scene = Scene(store)
    for number in range(5):
        run_id = scene.run(f"run {number}", hyperparameters={"lr": number / 10})
        scene.writer.append(run_id, {"loss": [1.0, 0.5, float(number)]})
        info = artifacts.put(io.BytesIO(b"content %d" % number))
        entry = {"digest": info.digest, "size_bytes": info.size_bytes}
        scene.writer.update("run", run_id, put={"artifacts": {"a": entry}})
    scene.ship()
    secret = scene.writer.update("run", run_id, put={"attributes": {"secret": 1}})
    scene.writer.erase(secret)
    scene.ship()
    return scene


def write(path: Path, store: MetadataStore, artifacts: FsspecArtifactStore | None, **options: Any) -> None:
    with BundleWriter(path, **options) as writer:
        done = copy(store, writer, artifacts=(artifacts, writer) if artifacts else None, workers=1)
        writer.finish(has_artifacts=artifacts is not None, absent_blobs=sorted(done.absent))


@pytest.fixture
def artifacts(tmp_path: Path) -> FsspecArtifactStore:
    return FsspecArtifactStore(f"file://{tmp_path}/artifacts")


@pytest.fixture
def store(artifacts: FsspecArtifactStore) -> MemoryStore:
    store = MemoryStore()
    fill(store, artifacts)
    return store


@pytest.fixture
def path(tmp_path: Path, store: MemoryStore, artifacts: FsspecArtifactStore) -> Path:
    path = tmp_path / "runs.bundle"
    write(path, store, artifacts)
    return path


def test_everything_comes_back(tmp_path: Path, store: MemoryStore, path: Path) -> None:
    target, files = MemoryStore(), FsspecArtifactStore(f"file://{tmp_path}/back")
    with BundleStore(f"bundle://{path}") as source:
        done = copy(source, target, artifacts=(BundleArtifactStore(source.url), files))
    assert (done.ok, done.blobs) == (True, 5)
    assert target.read_changes(limit=1000).changes == store.read_changes(limit=1000).changes
    assert dict(target.heads()) == dict(store.heads())
    assert sorted(info.digest for info in files.list()) == sorted(
        hashlib.sha256(b"content %d" % number).hexdigest() for number in range(5)
    )


def test_the_same_records_make_the_same_file(
    tmp_path: Path, store: MemoryStore, artifacts: FsspecArtifactStore, path: Path
) -> None:
    again = tmp_path / "again.bundle"
    write(again, store, artifacts)
    assert again.read_bytes() == path.read_bytes()


def test_a_bundle_is_a_tar_file_that_anyone_can_list(path: Path) -> None:
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert tar.extractfile("format").read() == b"modeldb-bundle-1\n"  # type: ignore[union-attr]
    assert (names[0], names[-1]) == ("format", "manifest.json")
    assert {name.partition("/")[0] for name in names[1:-1]} == {"blobs", "changes"}


def test_a_bundle_answers_questions(store: MemoryStore, path: Path) -> None:
    with BundleStore(f"bundle://{path}") as bundle:
        assert bundle.heads() == store.heads()
        found, expected = (each.find(Query(order_by="name")).entities for each in (bundle, store))
        assert [run.entity_id for run in found] == [run.entity_id for run in expected]
        run_id = found[0].entity_id
        assert bundle.get("run", run_id) == store.get("run", run_id)
        assert bundle.read_series(run_id, "loss").values.tolist() == [1.0, 0.5, 0.0]
        assert bundle.find_keys(Query()) == store.find_keys(Query())
        with pytest.raises(StoreReadOnlyError, match="modeldb import"):
            bundle.apply(store.read_changes().changes)
    with pytest.raises(StoreReadOnlyError):
        BundleArtifactStore(f"bundle://{path}").put(io.BytesIO(b""))
    with pytest.raises(StoreReadOnlyError):
        BundleArtifactStore(f"bundle://{path}").delete("ab" * 32)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_the_log_is_read_page_by_page(store: MemoryStore, path: Path, limit: int) -> None:
    with Bundle(path) as bundle:
        found, cursor = [], 0
        while (page := bundle.read_changes(after=cursor, limit=limit)).changes:
            found += page.changes
            cursor = page.cursor
        assert tuple(found) == store.read_changes(limit=1000).changes
        some = found[3]
        assert bundle.read_changes(entity_id=some.entity_id).changes == store.read_changes(
            entity_id=some.entity_id
        ).changes  # fmt: skip
        assert bundle.read_changes(after=10**9).changes == ()


def test_blobs_are_read_in_parts_and_as_a_whole(path: Path) -> None:
    with Bundle(path) as bundle:
        digest = hashlib.sha256(b"content 3").hexdigest()
        assert bundle.stat(digest).size_bytes == 9
        with bundle.open(digest) as stream:
            assert (stream.read(3), stream.read(), stream.read()) == (b"con", b"tent 3", b"")
        with pytest.raises(NotFoundError):
            bundle.open("ab" * 32)
        with pytest.raises(InvalidArgumentError):
            bundle.open("../../etc/passwd")


def test_an_untouched_bundle_verifies_by_itself(path: Path, store: MemoryStore) -> None:
    with Bundle(path) as bundle:
        report = verify_bundle(bundle, checkpoint=Checkpoint.of(store))
    assert report.ok, report
    assert (report.changes, report.blobs, report.erased) == (len(store.read_changes().changes), 5, 1)


def test_a_checkpoint_shows_what_a_bundle_lacks(path: Path, store: MemoryStore, artifacts: FsspecArtifactStore) -> None:
    fill(store, artifacts)
    with Bundle(path) as bundle:
        report = verify_bundle(bundle, checkpoint=Checkpoint.of(store))
    assert [finding.aspect for finding in report.findings] == ["checkpoint"]


def test_a_bundle_without_files_says_so(tmp_path: Path, store: MemoryStore) -> None:
    write(tmp_path / "bare.bundle", store, None)
    with Bundle(tmp_path / "bare.bundle") as bundle:
        assert not bundle.manifest.has_artifacts
        assert verify_bundle(bundle).ok


def test_an_empty_store_makes_an_empty_bundle(tmp_path: Path, artifacts: FsspecArtifactStore) -> None:
    write(tmp_path / "empty.bundle", MemoryStore(), artifacts)
    with Bundle(tmp_path / "empty.bundle") as bundle:
        assert verify_bundle(bundle).ok
        assert copy(BundleStore(bundle.url), MemoryStore()).ok


# -- damage -----------------------------------------------------------------------------------------------------------


def test_every_truncation_is_refused(tmp_path: Path, path: Path) -> None:
    data = path.read_bytes()
    cut = tmp_path / "cut.bundle"
    for length in [*range(0, len(data), 512), 1, 100, len(data) - 1]:
        if length < len(data):
            cut.write_bytes(data[:length])
            with pytest.raises(IntegrityError):
                Bundle(cut)


def test_every_altered_byte_is_found(tmp_path: Path, path: Path) -> None:
    """One bit in every place where something is: at opening, or by verifying."""
    data = path.read_bytes()
    altered = tmp_path / "altered.bundle"
    places = range(0, len(data), 37)
    for place in places:
        altered.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            with Bundle(altered) as bundle:
                report = verify_bundle(bundle)
        except ModelDBError:
            continue
        assert not report.ok or _is_padding(path, place), place


def _is_padding(path: Path, place: int) -> bool:
    with path.open("rb") as file:
        return any(member.offset + member.size <= place < member.end for member in read_members(file.fileno(), ""))


def forged(path: Path, *members: tuple[str, bytes], raw: bytes = b"", end: bytes | None = None) -> Path:
    """Write an archive of a stranger's making."""
    parts = [header(name, len(content)) + content + padding(len(content)) for name, content in members]
    path.write_bytes(b"".join(parts) + raw + (end_of_archive() if end is None else end))
    return path


FIRST = ("format", f"{FORMAT}\n".encode())
EMPTY = Manifest({}, 0, hashlib.sha256().hexdigest(), 0, 0, hashlib.sha256().hexdigest())
LAST = ("manifest.json", EMPTY.encode())


def manifest_with(**changed: Any) -> tuple[str, bytes]:
    return "manifest.json", replace(EMPTY, **changed).encode()


def with_header(name: str = "blobs/" + "ab" * 32, **changed: bytes) -> bytes:
    places = {"type": (156, 1), "link": (157, 100), "prefix": (345, 155), "size": (124, 12), "name": (0, 100)}
    block = bytearray(header(name, 0))
    for field, value in changed.items():
        at, length = places[field]
        block[at : at + length] = value.ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "raw",
    [
        with_header(type=b"2", link=b"/etc/passwd"),
        with_header(type=b"1", link=b"/etc/passwd"),
        with_header(type=b"5"),
        with_header(type=b"x"),
        with_header(prefix=b"/root"),
        with_header(size=b"99999999999\0"),
        with_header(size=b"\x80" + b"\xff" * 11),
        with_header(size=b"-0000000001\0"),
        with_header(name="..", size=b"00000000000\0"),
        b"\1" * 512,
    ],
    ids=["link", "hard link", "folder", "extension", "prefix", "size", "huge size", "negative", "way out", "noise"],
)
def test_what_no_bundle_holds_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(IntegrityError):
        Bundle(forged(tmp_path / "forged", FIRST, raw=raw))


@pytest.mark.parametrize(
    "members",
    [
        (),
        (FIRST,),
        (LAST,),
        (FIRST, ("readme.txt", b"hello"), LAST),
        (FIRST, LAST, LAST),
        (FIRST, LAST, ("blobs/" + "ab" * 32, b"late")),
        (FIRST, ("blobs/" + "ab" * 32, b"uncounted"), LAST),
        (FIRST, ("changes/000000000000.chg", b"uncounted"), LAST),
        (FIRST, ("manifest.json", b"{}")),
        (FIRST, ("manifest.json", b"[" * 100_000)),
        (FIRST, ("manifest.json", EMPTY.encode().replace(b'"changes": 0', b'"changes": 7'))),
        (FIRST, ("manifest.json", EMPTY.encode() + b" ")),
        (FIRST, manifest_with(changes=-1)),
        (FIRST, manifest_with(changes=7)),
        (FIRST, manifest_with(changes=2**70)),
        (FIRST, manifest_with(blobs=1)),
        (FIRST, manifest_with(blob_bytes=1)),
        (("format", b"something\n"), LAST),
    ],
)
def test_archives_that_are_no_bundles_are_refused(tmp_path: Path, members: Any) -> None:
    with pytest.raises(IntegrityError):
        Bundle(forged(tmp_path / "forged", *members))


def test_a_newer_format_says_to_update(tmp_path: Path) -> None:
    with pytest.raises(StoreVersionError, match="install that"):
        Bundle(forged(tmp_path / "newer", ("format", b"modeldb-bundle-2\n"), LAST))


def test_a_batch_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    bomb = (
        b"CHG1\1"
        + struct.pack("<IQ", 1, 300 << 20)
        + b"".join(packer.compress(bytes(1 << 20)) for _ in range(300))
        + packer.flush()
    )
    manifest = Manifest({}, 1, hashlib.sha256(bomb).hexdigest(), 0, 0, EMPTY.blobs_sha256)
    path = forged(tmp_path / "bomb", FIRST, ("changes/000000000000.chg", bomb), ("manifest.json", manifest.encode()))
    with Bundle(path) as bundle:
        with pytest.raises(IntegrityError, match="longer than"):
            bundle.read_changes()
        assert not verify_bundle(bundle).ok


def test_few_bytes_that_unpack_to_many_changes_are_refused_before_they_are_unpacked(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    each, members, sha = 100_000, [], hashlib.sha256()
    for number in range(20):
        bomb = b"CHG1\1" + struct.pack("<IQ", each, 100 * each) + zlib.compress(bytes(100 * each), 9)
        members.append((f"changes/{number * each:012}.chg", bomb))
        sha.update(bomb)
    manifest = Manifest({}, 20 * each, sha.hexdigest(), 0, 0, EMPTY.blobs_sha256)
    path = forged(tmp_path / "bomb", FIRST, *members, ("manifest.json", manifest.encode()))
    assert path.stat().st_size < 300 << 10
    monkeypatch.setattr("modeldb_core.log.batches._unpacked", lambda *_: pytest.fail("it was unpacked"))
    before = store.heads()
    with Bundle(path) as bundle:
        with pytest.raises(IntegrityError, match="cannot hold the 100,000 changes"):
            bundle.read_changes()
        assert not verify_bundle(bundle).ok
    assert store.heads() == before


def test_a_batch_with_holes_is_not_read(tmp_path: Path) -> None:
    size = 64 << 30
    path = forged(tmp_path / "sparse", FIRST, raw=header("changes/000000000000.chg", size), end=b"")
    manifest = Manifest({}, 1, hashlib.sha256().hexdigest(), 0, 0, EMPTY.blobs_sha256)
    rest = forged(tmp_path / "rest", ("manifest.json", manifest.encode())).read_bytes()
    with path.open("r+b") as file:
        file.seek(size, os.SEEK_END)
        file.write(rest)
    with Bundle(path) as bundle:
        with pytest.raises(IntegrityError, match=r"has 68,719,476,736 bytes; at most"):
            bundle.read_changes()
        assert not verify_bundle(bundle).ok


def test_heads_that_the_changes_do_not_reach_are_told(tmp_path: Path, path: Path, store: MemoryStore) -> None:
    with Bundle(path) as bundle:
        manifest = bundle.manifest
    ((stream_id, head),) = manifest.heads.items()
    more = replace(manifest, heads={stream_id: replace(head, seq=head.seq + 1)})
    altered = tmp_path / "altered.bundle"
    with path.open("rb") as file:
        *_, last = read_members(file.fileno(), "")
    start = path.read_bytes()[: last.offset - 512]
    rest = forged(tmp_path / "rest", ("manifest.json", more.encode())).read_bytes()
    altered.write_bytes(start + rest)
    with Bundle(altered) as bundle:
        assert [finding.aspect for finding in verify_bundle(bundle).findings] == ["stream"]
        assert stream_id in copy(bundle, MemoryStore()).refused


def test_a_blob_that_should_be_there_is_missed(tmp_path: Path, store: MemoryStore, artifacts: Any) -> None:
    with BundleWriter(tmp_path / "x") as writer:
        copy(store, writer)
        writer.finish()
    with Bundle(tmp_path / "x") as bundle:
        assert {finding.aspect for finding in verify_bundle(bundle).findings} == {"artifact"}


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_left_alone_unless_it_may_go(path: Path, store: MemoryStore) -> None:
    before = path.read_bytes()
    with pytest.raises(AlreadyExistsError):
        BundleWriter(path)
    with BundleWriter(path, replace=True):
        pass
    assert path.read_bytes() == before
    write(path, store, None, replace=True)
    assert path.read_bytes() != before


def test_nothing_is_left_behind_by_an_export_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), BundleWriter(tmp_path / "x.bundle"):
        raise RuntimeError
    assert not [name for name in os.listdir(tmp_path) if name.startswith("x.bundle")]


def test_what_a_killed_export_left_is_written_over(tmp_path: Path, store: MemoryStore) -> None:
    (tmp_path / "x.bundle.part").write_bytes(b"rest" * 10_000)
    write(tmp_path / "x.bundle", store, None)
    with Bundle(tmp_path / "x.bundle") as bundle:
        assert verify_bundle(bundle).ok
    assert not (tmp_path / "x.bundle.part").exists()


def test_two_exports_to_one_file_do_not_mix(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "x.bundle"), pytest.raises(AlreadyExistsError, match="another process"):
        BundleWriter(tmp_path / "x.bundle")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnlyError, match="another folder"):
        BundleWriter(tmp_path / "nowhere" / "x.bundle")


def test_a_damaged_blob_leaves_no_trace(tmp_path: Path) -> None:
    good, bad = b"good", b"bad"
    with BundleWriter(tmp_path / "x.bundle") as writer:
        with pytest.raises(IntegrityError):
            writer.put(io.BytesIO(bad), digest=hashlib.sha256(good).hexdigest())
        writer.put(io.BytesIO(good), digest=hashlib.sha256(good).hexdigest())
        writer.finish()
    with Bundle(tmp_path / "x.bundle") as bundle:
        assert [info.size_bytes for info in bundle.list()] == [4]


def test_sizes_beyond_eight_gibibytes_have_a_header_that_tar_reads() -> None:
    size = 9 << 30
    info = tarfile.TarInfo.frombuf(header("blobs/" + "ab" * 32, size), "ascii", "strict")
    assert (info.size, info.isreg(), info.mode, info.mtime) == (size, True, 0o644, 0)


# -- selections -------------------------------------------------------------------------------------------------------


def test_a_selection_takes_whole_streams_and_says_what_else_is_in_them(artifacts: FsspecArtifactStore) -> None:
    store = MemoryStore()
    one, other = fill(store, artifacts), fill(store, artifacts)
    other.writer.update("run", one.runs["run 0"], add={"tags": ["seen"]})
    other.ship()
    selection = select(store, projects=[one.project_id])
    assert selection.streams == {one.writer.stream_id, other.writer.stream_id}
    assert (selection.runs, selection.other_runs, selection.other_projects) == (5, 5, {other.project})
    selection = select(store, runs=[other.runs["run 1"]])
    assert selection.streams == {other.writer.stream_id}
    assert (selection.runs, selection.other_runs) == (1, 5)
    target = MemoryStore()
    copy(store, target, streams=selection.streams)
    assert target.get("run", other.runs["run 1"]) == store.get("run", other.runs["run 1"])


def test_erased_payloads_come_with_the_changes_that_erased_them(tmp_path: Path) -> None:
    store = MemoryStore()
    one, eraser, unrelated = Scene(store), Scene(store), Scene(store)
    run_id = one.run("run")
    secret = one.writer.update("run", one.run("other"), put={"attributes": {"secret": 1}})
    one.ship()
    eraser.writer.erase(secret)
    eraser.ship()
    unrelated.ship()
    selection = select(store, runs=[run_id])
    assert selection.streams == {one.writer.stream_id, eraser.writer.stream_id}
    with BundleWriter(tmp_path / "x") as writer:
        copy(store, writer, streams=selection.streams)
        writer.finish(has_artifacts=False, selection=selection.asked)
    with Bundle(tmp_path / "x") as bundle:
        assert verify_bundle(bundle, checkpoint=Checkpoint.of(store)).ok


def test_tar_itself_finds_nothing_wrong(path: Path) -> None:
    done = subprocess.run(["tar", "-tvf", str(path)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""


# -- what is left out -------------------------------------------------------------------------------------------------


@pytest.fixture
def partial(tmp_path: Path, artifacts: FsspecArtifactStore) -> tuple[Path, MemoryStore, Scene]:
    """A bundle of one run of a stream with several, without what the stream says of the others."""
    store = MemoryStore()
    scene = fill(store, artifacts)
    selection = select(store, runs=[scene.runs["run 1"]])
    view = Withholding(needed_with(store, selection.wanted))
    with BundleWriter(tmp_path / "partial.bundle") as writer:
        copy(store, writer, artifacts=(artifacts, writer), streams=selection.streams, view=view, workers=1)
        writer.finish(selection=selection.asked)
    return tmp_path / "partial.bundle", store, scene


def test_what_is_withheld_is_nowhere_in_the_bundle_and_every_chain_verifies(
    partial: tuple[Path, MemoryStore, Scene],
) -> None:
    path, store, _ = partial
    with Bundle(path) as bundle:
        report = verify_bundle(bundle, checkpoint=Checkpoint.of(store))
        held = b"".join(change.payload or b"" for change in bundle.read_changes(limit=10_000).changes)
        assert [info.size_bytes for info in bundle.list()] == [len("content 1")]
    assert report.ok
    assert report.withheld > 10
    assert report.erased == 1  # what was erased before is still told apart from what is withheld
    assert "withheld" in str(report)
    assert b"run 1" in held
    assert b"run 2" not in held


def test_the_run_that_was_asked_for_reads_as_before_and_the_others_not_as_erased(
    partial: tuple[Path, MemoryStore, Scene],
) -> None:
    path, store, scene = partial
    with BundleStore(f"bundle://{path}") as bundled:
        wanted = scene.runs["run 1"]
        assert bundled.get("run", wanted) == store.get("run", wanted)
        assert bundled.get("project", scene.project_id).name == scene.project
        assert bundled.read_series(wanted, "loss").values.tolist() == [1.0, 0.5, 1.0]
        assert [run.entity_id for run in bundled.find(Query()).entities] == [wanted]
        with pytest.raises(NotFoundError, match="withheld") as caught:
            bundled.get("run", scene.runs["run 2"])
        assert not isinstance(caught.value, ErasedError)
        assert verify(bundled).ok


def test_no_store_takes_in_what_it_could_never_complete(partial: tuple[Path, MemoryStore, Scene]) -> None:
    path, _, _ = partial
    target = MemoryStore()
    with (
        BundleStore(f"bundle://{path}") as source,
        pytest.raises(InvalidArgumentError, match="payloads of other entities are withheld"),
    ):
        copy(source, target)
    assert not target.heads()


def test_no_store_takes_in_a_change_whose_payload_was_withheld(partial: tuple[Path, MemoryStore, Scene]) -> None:
    path, _, _ = partial
    target = MemoryStore()
    with Bundle(path) as bundle:
        changes = bundle.read_changes(limit=10_000).changes
        done = copy(bundle, target, view=lambda change: change)
    assert any(change.withheld for change in changes)
    assert not done.ok
    assert "was withheld" in " ".join(done.refused.values())
    with pytest.raises(InvalidArgumentError, match="was withheld"):
        target.apply(changes)
    assert not any(change.payload is None for change in target.read_changes(limit=10_000).changes)


def test_a_payload_that_is_taken_out_without_a_word_is_found(tmp_path: Path, artifacts: FsspecArtifactStore) -> None:
    store = MemoryStore()
    scene = fill(store, artifacts)
    view = Withholding({("run", scene.runs["run 1"])})
    with BundleWriter(tmp_path / "x") as writer:
        copy(store, writer, view=lambda change: view(change).erased() if view(change).withheld else change)
        writer.finish(has_artifacts=False)
    with Bundle(tmp_path / "x") as bundle:
        report = verify_bundle(bundle)
    assert not report.ok
    assert "its payload is gone, though no change erased it" in str(report)
