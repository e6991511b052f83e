"""Copies, imports, exports and collections that are killed with SIGKILL half way: the next one ends what they began."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.entities import now_us
from modeldb_core.errors import ErasedError
from modeldb_core.movement.bundle_audit import verify_bundle
from modeldb_core.movement.bundles import Bundle
from modeldb_core.testing import StreamWriter

RUNS = 36
POINTS = 25


def log(store: SQLiteStore) -> list[bytes]:
    found, cursor = [], 0
    while (page := store.read_changes(after=cursor, limit=5000)).changes:
        found += [change.hash for change in page.changes]
        cursor = page.cursor
    return found


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store of some thousand changes, of three streams that take turns, and their files."""
    folder = tmp_path_factory.mktemp("origin")
    artifacts = FsspecArtifactStore(f"file://{folder}/modeldb-artifacts")
    writers = [StreamWriter() for _ in range(3)]
    for writer in writers:
        writer.open()
    with SQLiteStore(f"sqlite:///{folder}/modeldb.db") as store:
        for number in range(RUNS):
            writer = writers[number % 3]
            before = len(writer.changes)
            run_id = writer.create_run(name=f"run {number}", status="finished").entity_id
            info = artifacts.put(io.BytesIO(os.urandom(20_000)))
            entry = {"digest": info.digest, "size_bytes": info.size_bytes}
            writer.update("run", run_id, put={"artifacts": {"weights": entry}})
            for step in range(POINTS):
                writer.append(run_id, {"loss": [float(step)]}, steps=[step])
            store.apply(writer.changes[before if before > 1 else 0 :])
    return folder


def command(*arguments: str, batch: int = 40) -> list[str]:
    """Return the command line of ``modeldb`` with small batches, so that there is a half way."""
    text = (
        f"from modeldb_core.movement import copying, collection; copying.BATCH_CHANGES = {batch}; "
        "collection._DOCUMENTS = 2; from modeldb_core.cli import program; import sys; "
        f"sys.exit(program.run({list(arguments)!r}))"
    )
    return [sys.executable, "-c", text]


def kill_when(arguments: list[str], is_half_way: Callable[[], bool], folder: Path) -> bool:
    """Start a program and kill it as soon as something holds; return whether it was killed before it ended."""
    process = subprocess.Popen(arguments, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and not is_half_way():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait(30)
    return process.returncode == -signal.SIGKILL


def end(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arrived(url: str) -> int:
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return 0
    try:
        with SQLiteStore(url, read_only=True) as store:
            return sum(head.seq for head in store.heads().values())
    except Exception:  # it is just being made
        return 0


@pytest.mark.parametrize("way", ["copy", "import"])
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_a_copy_that_is_killed_goes_on_where_it_was(origin: Path, tmp_path: Path, way: str, share: float) -> None:
    source, target = f"sqlite:///{origin}/modeldb.db", f"sqlite:///{tmp_path}/copy.db"
    arguments = ["copy", source, target]
    if way == "import":
        end(command("export", str(tmp_path / "x.bundle"), "--url", source), tmp_path)
        arguments = ["import", str(tmp_path / "x.bundle"), "--url", target]
    with SQLiteStore(source) as store:
        expected = log(store)
        killed = kill_when(command(*arguments), lambda: arrived(target) > share * len(expected), tmp_path)
        done = arrived(target)
        if killed:
            with SQLiteStore(target) as half:
                assert log(half) == expected[:done], "the beginning of the source, in its order"
                report = verify(half, FsspecArtifactStore(f"file://{tmp_path}/copy-artifacts"))
                assert report.ok, report
        text = end(command(*arguments), tmp_path)
        assert text.startswith(f"{len(expected) - done:,} changes")
        assert f"{done:,} were there" in text or not done
        with SQLiteStore(target) as whole:
            assert log(whole) == expected
            report = verify(whole, FsspecArtifactStore(f"file://{tmp_path}/copy-artifacts"))
            assert report.ok, report
            assert report.blobs == RUNS
        assert end(command(*arguments), tmp_path).startswith("0 changes")


def test_an_export_that_is_killed_leaves_no_bundle_and_does_not_stop_the_next_one(origin: Path, tmp_path: Path) -> None:
    path, part = tmp_path / "x.bundle", tmp_path / "x.bundle.part"
    arguments = command("export", str(path), "--url", f"sqlite:///{origin}/modeldb.db")
    killed = kill_when(arguments, lambda: part.exists() and part.stat().st_size > 200_000, tmp_path)
    assert killed
    assert not path.exists()
    end(arguments, tmp_path)
    assert not part.exists()
    with Bundle(path) as bundle:
        report = verify_bundle(bundle)
        assert report.ok, report
        assert report.blobs == RUNS


def test_a_collection_that_is_killed_is_ended_by_the_next_one(origin: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/modeldb.db"
    end(command("copy", f"sqlite:///{origin}/modeldb.db", url), tmp_path)
    blobs = FsspecArtifactStore(f"file://{tmp_path}/modeldb-artifacts")
    for path in (tmp_path / "modeldb-artifacts").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 90 * 86400,) * 2)
    with SQLiteStore(url) as store:
        run_ids = {
            change.entity_id for change in store.read_changes(limit=100_000).changes if change.action == "create"
        }
        kept, gone = sorted(run_ids)[:12], sorted(run_ids)[12:]
        writer = StreamWriter(at=now_us() - 40 * 86400 * 1_000_000)
        for run_id in gone:
            writer.delete("run", run_id)
        store.apply(writer.changes)

        def erased() -> int:
            count = 0
            for run_id in gone:
                try:
                    store.get("run", run_id)
                except ErasedError:
                    count += 1
            return count

        for share in (0.2, 0.6):
            kill_when(command("gc", "--url", url), lambda share=share: erased() > share * len(gone), tmp_path)  # type: ignore[misc]
            report = verify(store, blobs)
            assert report.ok, report
        end(command("gc", "--url", url), tmp_path)
        assert erased() == len(gone)
        needed = {store.get("run", run_id).document["artifacts"]["weights"]["digest"] for run_id in kept}
        assert {info.digest for info in blobs.list()} == needed
        report = verify(store, blobs)
        assert report.ok, report
