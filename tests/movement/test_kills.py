"""Copies, imports, exports and collections that are killed anywhere, or find the disk full: the next one ends them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.errors import ErasedError, StoreUnavailableError
from modeldb_core.model.entities import now_us
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundles import Bundle
from modeldb_core.plugins import open_artifacts, open_store
from modeldb_core.stores import MetadataStore
from modeldb_core.testing import StreamWriter
from tests.services.faults import Faults
from tests.services.server import serving
from tests.tracking.test_crash import mounted_tmpfs

RUNS, KEPT = 9, 3
POINTS = 12
FILE_BYTES = 20_000


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store of some hundred changes, of three streams that take turns, and their files."""
    folder = tmp_path_factory.mktemp("origin")
    artifacts = FsspecArtifactStore(f"file://{folder}/modeldb-artifacts")
    writers = [StreamWriter(at=now_us() - 90 * 86400 * 1_000_000) for _ in range(3)]
    for writer in writers:
        writer.open()
    with SQLiteStore(f"sqlite:///{folder}/modeldb.db") as store:
        for number in range(RUNS):
            writer = writers[number % 3]
            before = len(writer.changes)
            run_id = writer.create_run(name=f"run {number}", status="finished").entity_id
            info = artifacts.put(io.BytesIO(os.urandom(FILE_BYTES)))
            entry = {"digest": info.digest, "size_bytes": info.size_bytes}
            writer.update("run", run_id, put={"artifacts": {"weights": entry}})
            for step in range(POINTS):
                writer.append(run_id, {"loss": [float(step)]}, steps=[step])
            store.apply(writer.changes[before if before > 1 else 0 :])
    with SQLiteStore(f"sqlite:///{folder}/modeldb.db") as store:
        assert verify(store).ok
    return folder


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(variable, str(home / variable.lower()))
        faults = Faults()
    yield faults
    faults.stop()


def log(store: MetadataStore) -> list[bytes]:
    found, cursor = [], 0
    while (page := store.read_changes(after=cursor, limit=5000)).changes:
        found += [change.hash for change in page.changes]
        cursor = page.cursor
    return found


def end(faults: Faults, *arguments: str, cwd: Path) -> str:
    done = faults.run(*arguments, cwd=cwd)
    assert done.code == 0, done.output
    return done.output


def places(count: int, how_many: int) -> list[int]:
    """Return points from the first one to one near the end; threads make their number vary a little."""
    return [1 + at * (count * 95 // 100 - 1) // (how_many - 1) for at in range(how_many)]


def left_over(folder: Path) -> list[Path]:
    """Return what programs write beside what they are to make. (What the put of a file left goes after some days.)"""
    return [path for path in folder.rglob("*") if path.name.endswith((".part", ".tmp")) or ".part-" in path.name]


# Copies


@pytest.mark.parametrize(
    ("way", "target"),
    [
        ("copy", "sqlite:///{}/copy.db"),
        ("import", "sqlite:///{}/copy.db"),
        ("copy", "file://{0}/bucket?cache_dir={0}/c"),
    ],
)
def test_a_copy_that_is_killed_anywhere_goes_on_where_it_was(
    origin: Path, tmp_path: Path, faults: Faults, way: str, target: str
) -> None:
    source = f"sqlite:///{origin}/modeldb.db"
    end(faults, "export", str(tmp_path / "x.bundle"), "--url", source, cwd=tmp_path)

    def copying(folder: Path) -> list[str]:
        blobs = f"file://{folder}/blobs"
        if way == "import":
            return ["import", str(tmp_path / "x.bundle"), "--url", target.format(folder), "--artifact-url", blobs]
        return ["copy", source, target.format(folder), "--to-artifacts", blobs]

    with SQLiteStore(source) as store:
        expected = log(store)
    (whole := tmp_path / "whole").mkdir()
    done = faults.run(*copying(whole), cwd=whole)
    assert done.code == 0, done.output
    for point in places(done.points, 4):
        (folder := tmp_path / str(point)).mkdir()
        assert faults.run(*copying(folder), cwd=folder, kill_at=point).was_killed
        half = folder / "copy.db"
        if way == "copy" and half.exists() and half.stat().st_size:
            with SQLiteStore(f"sqlite:///{half}") as store:
                assert log(store) == expected[: len(log(store))], "the beginning of the source, in its order"
                assert verify(store).ok
        end(faults, *copying(folder), cwd=folder)
        with open_store(target.format(folder)) as store:
            assert log(store) == expected
            report = verify(store, FsspecArtifactStore(f"file://{folder}/blobs"))
        assert report.findings == []
        assert report.blobs == RUNS
        assert left_over(folder) == []
        assert end(faults, *copying(folder), cwd=folder).startswith("0 changes")


def test_an_export_that_is_killed_anywhere_leaves_no_half_bundle(origin: Path, tmp_path: Path, faults: Faults) -> None:
    path = tmp_path / "x.bundle"
    arguments = ("export", str(path), "--url", f"sqlite:///{origin}/modeldb.db")
    done = faults.run(*arguments, cwd=tmp_path)
    assert done.code == 0, done.output
    for point in places(done.points, 4):
        path.unlink(missing_ok=True)
        assert faults.run(*arguments, cwd=tmp_path, kill_at=point).was_killed
        if not path.exists():
            end(faults, *arguments, cwd=tmp_path)
        with Bundle(path) as bundle:
            report = verify_bundle(bundle)
        assert report.findings == []
        assert report.blobs == RUNS
    assert left_over(tmp_path) == []


# Collecting garbage


@pytest.fixture
def rubbish(origin: Path, tmp_path: Path, faults: Faults) -> tuple[Path, list[str], list[str]]:
    """Return a folder with a copy of the store in which most runs were deleted long ago; those kept, and those deleted."""
    folder = tmp_path / "rubbish"
    shutil.copytree(origin, folder)
    for path in (folder / "modeldb-artifacts").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 90 * 86400,) * 2)
    with SQLiteStore(f"sqlite:///{folder}/modeldb.db") as store:
        changes = store.read_changes(limit=100_000).changes
        run_ids = sorted({change.entity_id for change in changes if change.action == "create"})
        writer = StreamWriter(at=now_us() - 40 * 86400 * 1_000_000)
        for run_id in run_ids[KEPT:]:
            writer.delete("run", run_id)
        writer.close()
        store.apply(writer.changes)
    return folder, run_ids[:KEPT], run_ids[KEPT:]


def is_erased(store: MetadataStore, run_id: str) -> bool:
    try:
        store.get("run", run_id)
    except ErasedError:
        return True
    return False


def check_collected(folder: Path, kept: list[str], gone: list[str]) -> None:
    blobs = FsspecArtifactStore(f"file://{folder}/modeldb-artifacts")
    with SQLiteStore(f"sqlite:///{folder}/modeldb.db") as store:
        assert all(is_erased(store, run_id) for run_id in gone)
        needed = {store.get("run", run_id).document["artifacts"]["weights"]["digest"] for run_id in kept}
        assert {info.digest for info in blobs.list()} == needed
        report = verify(store, blobs)
    assert report.findings == []
    assert report.undeleted == []


def check_nothing_is_lost(folder: Path, kept: list[str]) -> None:
    blobs = FsspecArtifactStore(f"file://{folder}/modeldb-artifacts")
    with SQLiteStore(f"sqlite:///{folder}/modeldb.db") as store:
        assert not any(is_erased(store, run_id) for run_id in kept)
        assert verify(store, blobs).findings == [], "whatever is not erased has its files"


def test_a_collection_that_is_killed_anywhere_is_ended_by_the_next_one(
    rubbish: tuple[Path, list[str], list[str]], tmp_path: Path, faults: Faults
) -> None:
    folder, kept, gone = rubbish
    (whole := tmp_path / "whole").mkdir()
    shutil.copytree(folder, whole, dirs_exist_ok=True)
    done = faults.run("gc", "--url", f"sqlite:///{whole}/modeldb.db", cwd=whole)
    assert done.code == 0, done.output
    check_collected(whole, kept, gone)
    for point in places(done.points, 4):
        half = tmp_path / str(point)
        shutil.copytree(folder, half)
        assert faults.run("gc", "--url", f"sqlite:///{half}/modeldb.db", cwd=half, kill_at=point).was_killed
        check_nothing_is_lost(half, kept)
        end(faults, "gc", "--url", f"sqlite:///{half}/modeldb.db", cwd=half)
        check_collected(half, kept, gone)
        assert left_over(half) == []


# Full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of a size that a test sets with :func:`resize`."""
    path = tmp_path / "small"
    if not mounted_tmpfs(path, "4m"):
        pytest.fail("mounting a tmpfs needs root: run this test as root, or in `unshare -rm`")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def resize(disk: Path, size_bytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_bytes}", disk], check=True)


def used(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


@pytest.mark.parametrize("way", ["copy", "import"])
@pytest.mark.parametrize("free", [8 << 10, 450 << 10])
def test_a_copy_onto_a_full_disk_says_so_and_goes_on_once_there_is_room(
    origin: Path, tmp_path: Path, small_disk: Path, faults: Faults, way: str, free: int
) -> None:
    source, target = f"sqlite:///{origin}/modeldb.db", f"sqlite:///{small_disk}/copy.db"
    arguments = ["copy", source, target]
    if way == "import":
        end(faults, "export", str(tmp_path / "x.bundle"), "--url", source, cwd=tmp_path)
        arguments = ["import", str(tmp_path / "x.bundle"), "--url", target]
    with SQLiteStore(source) as store:
        expected = log(store)
    resize(small_disk, free)
    failed = faults.run(*arguments, cwd=tmp_path)
    assert failed.code == 3, failed.output
    assert "full" in failed.output
    resize(small_disk, 64 << 20)
    end(faults, *arguments, cwd=tmp_path)
    with SQLiteStore(target) as store:
        assert log(store) == expected
        report = verify(store, FsspecArtifactStore(f"file://{small_disk}/copy-artifacts"))
    assert report.findings == []
    assert report.blobs == RUNS
    assert left_over(small_disk) == []


def test_an_export_or_a_checkpoint_onto_a_full_disk_leaves_nothing_there(
    origin: Path, tmp_path: Path, small_disk: Path, faults: Faults
) -> None:
    arguments = ("export", str(small_disk / "x.bundle"), "--url", f"sqlite:///{origin}/modeldb.db")
    resize(small_disk, 64 << 10)
    failed = faults.run(*arguments, cwd=tmp_path)
    assert failed.code == 3, failed.output
    assert "full" in failed.output
    assert list(small_disk.iterdir()) == []
    resize(small_disk, 4096)
    (small_disk / "ballast").write_bytes(bytes(4096))
    failed = faults.run("audit", "checkpoint", str(small_disk / "c.json"), *arguments[2:], cwd=tmp_path)
    assert failed.code != 0
    assert "No space left" in failed.output
    assert not (small_disk / "c.json").exists()
    resize(small_disk, 64 << 20)
    end(faults, *arguments, cwd=tmp_path)


def test_a_collection_on_a_full_disk_loses_nothing_and_is_ended_by_the_next_one(
    rubbish: tuple[Path, list[str], list[str]], small_disk: Path, faults: Faults
) -> None:
    folder, kept, gone = rubbish
    resize(small_disk, 64 << 20)
    shutil.copytree(folder, small_disk, dirs_exist_ok=True)
    arguments = ("gc", "--url", f"sqlite:///{small_disk}/modeldb.db")
    for room in (0, 48 << 10):
        resize(small_disk, used(small_disk) + room)
        failed = faults.run(*arguments, cwd=small_disk)
        assert failed.code == 3, failed.output
        assert "full" in failed.output
        resize(small_disk, 64 << 20)
        check_nothing_is_lost(small_disk, kept)
    end(faults, *arguments, cwd=small_disk)
    check_collected(small_disk, kept, gone)


def test_what_goes_through_a_server_with_a_full_disk_is_refused_and_arrives_once_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    artifacts = FsspecArtifactStore(f"file://{small_disk}/blobs")
    resize(small_disk, 1 << 20)
    writer = StreamWriter()
    writer.open()
    run_id = writer.create_run().entity_id
    with SQLiteStore(f"sqlite:///{small_disk}/modeldb.db") as store, serving(store, artifacts) as url:
        with open_store(f"{url}?retry_s=0") as remote, closing(open_artifacts(f"{url}?retry_s=0")) as files:
            remote.apply(writer.changes)
            before = used(small_disk)
            content = os.urandom(3 << 20)
            with pytest.raises(StoreUnavailableError, match="try again"):
                files.put(io.BytesIO(content))
            assert used(small_disk) - before < 256 << 10, "what did not fit is gone again"
            writer.update("run", run_id, put={"attributes": {"long": os.urandom(1 << 20).hex()}})
            with pytest.raises(StoreUnavailableError, match="try again"):
                remote.apply(writer.changes)
            resize(small_disk, 64 << 20)
            info = files.put(io.BytesIO(content))
            remote.apply(writer.changes)
            assert files.open(info.digest).read() == content
            assert verify(remote).findings == []
