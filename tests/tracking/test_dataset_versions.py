"""Versions of data sets: logged, numbered, compared, used and written out again."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import polars
import pytest
from scipy import sparse

import modeldb_core as modeldb
from modeldb_core.errors import (
    AlreadyExistsError,
    FolderChangedError,
    IntegrityError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    ModelDBError,
    NotFoundError,
)
from modeldb_core.testing.streams import StreamWriter
from modeldb_core.tracking import Client
from modeldb_core.tracking.data import files
from modeldb_core.tracking.data.cache import HashCache
from modeldb_core.tracking.data.checkout import check_out
from modeldb_core.tracking.data.files import find_files
from modeldb_core.tracking.description.digests import folder_digest
from modeldb_core.trees import TreeStore
from tests.services.s3 import SeaweedFS


@pytest.fixture
def folder(tmp_path: Path, client: Client) -> Path:
    """Return a folder of data that was written a while ago, as its times say."""
    root = tmp_path / "train"
    for name in ("a/x.csv", "a/y.csv", "b.csv", "same.csv"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("same" if name in ("b.csv", "same.csv") else name)
    _let_times_settle(root)
    return root


def _let_times_settle(root: Path) -> None:
    """Wait until a change would show in the times of every file."""
    last = max(path.stat().st_ctime_ns for path in root.rglob("*"))
    while time.time_ns() <= last + 150_000_000:
        time.sleep(0.01)


def test_a_second_version_reads_only_what_changed(client: Client, folder: Path) -> None:
    counted: list[tuple[int, int, int]] = []
    first = modeldb.log_dataset_version(
        "churn/train", modeldb.path(folder, keep=True), tags=["raw"], progress=lambda *n: counted.append(n)
    )
    assert (first.version, first.read.hashed, first.read.sent) == (1, 4, 3)
    assert counted[-1][:2] == (4, 4)
    assert (first.entity.part_count, first.entity.size_bytes, first.entity.is_kept) == (4, 22, True)
    assert first.digest == folder_digest(folder)[0]
    again = modeldb.log_dataset_version("churn/train", str(folder))
    assert (again.version_id, again.read.hashed, again.entity.tags) == (first.version_id, 0, ("raw",))
    (folder / "b.csv").write_text("other")
    (folder / "a" / "x.csv").unlink()
    (folder / "new.csv").write_text("new")
    second = modeldb.log_dataset_version("churn/train", modeldb.path(folder, keep=True))
    assert (second.version, second.read.hashed, second.read.sent) == (2, 2, 2)
    assert second.entity.parent_id == first.version_id
    data = modeldb.dataset("churn/train")
    diff = data.diff(1, "v2").as_json()
    assert diff["files"] == {
        "added": {"new.csv": 3},
        "removed": {"a/x.csv": 7},
        "changed": {"b.csv": {"before": 4, "after": 5}},
    }
    assert data.diff(1, 1).is_same
    assert [each.reference for each in data.versions()] == ["churn/train@v2", "churn/train@v1"]
    with client.start_run(capture=False) as run:
        assert run.log_dataset(folder, name="churn/train") == second.version_id, "one thing, however it is logged"


def test_touched_files_are_the_same_version(folder: Path) -> None:
    first = modeldb.log_dataset_version("churn/train", folder)
    os.utime(folder / "b.csv", (1, 1))
    again = modeldb.log_dataset_version("churn/train", folder)
    assert (again.version_id, again.read.hashed) == (first.version_id, 1)
    kept = modeldb.log_dataset_version("churn/train", modeldb.path(folder, keep=True))
    assert (kept.version_id, kept.entity.is_kept, kept.read.sent) == (first.version_id, True, 3)


def test_the_store_may_lie_in_the_folder_of_data(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "store" / "b.csv").write_text("b")
    for number in range(3):
        version = modeldb.log_dataset_version(f"here {number}", modeldb.path(tmp_path, keep=True))
        assert [location for location, _ in version.parts()] == ["a.csv", "store/b.csv"]


def test_a_version_in_use_is_recorded_and_verified(client: Client, folder: Path, tmp_path: Path) -> None:
    kept = modeldb.log_dataset_version("churn/train", modeldb.path(folder, keep=True))
    modeldb.log_dataset_version("churn/one", folder / "b.csv")
    (folder / "a" / "x.csv").write_text("altered since")
    with client.start_run(capture=False) as run:
        with modeldb.use_dataset("churn/train@v1") as data:
            assert (data.path / "a" / "x.csv").read_text() == "a/x.csv"
            inside = data.path
        assert not inside.exists()
        with modeldb.use_dataset("churn/one", role="test") as data, open(data) as file:
            assert file.read() == "same"
    used = run.entity.datasets
    assert used["churn/train"]["dataset_version_id"] == kept.version_id
    assert used["test"]["version"] == 1
    (folder / "b.csv").write_text("altered")
    with pytest.raises(IntegrityError, match=r"churn/one@v1.*b\.csv"), modeldb.use_dataset("churn/one@latest"):
        pass
    (folder / "b.csv").unlink()
    with pytest.raises(NotFoundError, match="not kept"), modeldb.use_dataset("churn/one"):
        pass
    for reference, error in (
        ("churn/train@v9", NotFoundError),
        ("nobody", NotFoundError),
        ("a@", InvalidArgumentError),
    ):
        with pytest.raises(error), modeldb.use_dataset(reference):
            pass


def test_content_is_written_out_whole_and_over_nothing(folder: Path, tmp_path: Path) -> None:
    version = modeldb.log_dataset_version("churn/train", modeldb.path(folder, keep=True))
    target = tmp_path / "new" / "out"
    assert version.checkout(target) == target
    assert folder_digest(target)[0] == version.digest
    (target / "more").write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(target)
    for there in (target, link, folder / "b.csv"):
        with pytest.raises(AlreadyExistsError):
            version.checkout(there)
    assert (target / "more").read_text() == "mine"
    modeldb.dataset("churn/train").checkout(1, target, overwrite=True)
    assert folder_digest(target)[0] == version.digest
    assert sorted(path.name for path in target.parent.iterdir()) == ["out"]
    unkept = modeldb.log_dataset_version("churn/other", folder)
    with pytest.raises(NotFoundError, match="keep=True"):
        unkept.checkout(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_checkout_that_is_interrupted_leaves_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = modeldb.log_dataset_version("churn/train", modeldb.path(folder, keep=True))
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").write_text("the only copy")
    rename = os.rename
    for failure in (KeyboardInterrupt(), OSError(28, "No space left on device")):

        def renamed(old: Path, new: Path, failure: BaseException = failure) -> None:
            if Path(old).name == "content":
                raise failure
            rename(old, new)

        monkeypatch.setattr(os, "rename", renamed)
        with pytest.raises(type(failure)):
            version.checkout(target, overwrite=True)
        assert (target / "mine").read_text() == "the only copy"
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".out", "out"))) == ["out"]


GITS = (".git", "a/.GIT", "git~1", ".git.", ".g\u200cit")


def test_the_folder_of_git_is_no_part_of_data(folder: Path, tmp_path: Path) -> None:
    plain = modeldb.log_dataset_version("churn/plain", modeldb.path(folder, keep=True))
    (folder / "a" / ".git").mkdir()
    (folder / "a" / ".git" / "config").write_text("[core]")
    _let_times_settle(folder)
    version = modeldb.log_dataset_version("churn/train", modeldb.path(folder, keep=True))
    assert [location for location, _ in version.parts()] == ["a/x.csv", "a/y.csv", "b.csv", "same.csv"]
    assert version.digest == plain.digest == folder_digest(folder)[0]
    assert find_files(folder, HashCache(None)).left_out == {"a/.git": "git's own"}
    assert folder_digest(version.checkout(tmp_path / "out"))[0] == version.digest


def test_a_tree_of_a_stranger_leads_nowhere_else(client: Client, tmp_path: Path) -> None:
    trees = TreeStore(client.artifacts)
    digest = client.artifacts.put(io.BytesIO(b"of somebody")).digest
    entry = {"sha256": "0" * 64, "observed": {"digest": digest}}
    for entries, error in (
        ({"a": entry}, IntegrityError),
        ({"a": {"observed": {"digest": "1" * 64}}}, NotFoundError),
        ({"x" * 256 + "/a": {"observed": {"digest": digest}}}, InvalidArgumentError),
        ({"a": {"observed": {"digest": 5}}}, ModelDBError),
        ({"a": {"observed": "text"}}, ModelDBError),
        *(({f"{name}/config": {"observed": {"digest": digest}}}, InvalidArgumentError) for name in GITS),
    ):
        with pytest.raises(error):
            check_out(trees.build(entries), client.artifacts, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


READ = """
import os, sys
from modeldb_core.errors import PermissionDeniedError
from modeldb_core.tracking.data.cache import HashCache
from modeldb_core.tracking.data.files import find_files
if os.geteuid() == 0:  # root may read everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for exclude in ((), ("secret",)):
    try:
        print([part.location for part in find_files(sys.argv[1], HashCache(None), exclude=exclude).parts])
    except PermissionDeniedError as error:
        print(error)
"""


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # in which anybody may look, unlike in the folders of tests
        os.chmod(name, 0o755)
        for file, mode in (("open", 0o644), ("secret", 0)):
            (Path(name) / file).write_text("x")
            (Path(name) / file).chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", READ, name], capture_output=True, text=True, timeout=600, check=True, cwd=tmp_path
        )
    refused, without = done.stdout.splitlines()
    assert "'secret'" in refused
    assert "may not be read" in refused
    assert without == "['open']"


def test_data_that_cannot_be_read_as_it_is_leaves_nothing(client: Client, folder: Path, tmp_path: Path) -> None:
    def make_loop(path: Path) -> None:
        path.symlink_to(folder)

    def make_socket(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as made:
            os.chdir(path.parent)
            made.bind(path.name)

    cases: dict[str, tuple[Any, type[Exception], str]] = {
        "loop": (make_loop, InvalidArgumentError, "link back"),
        "dangling": (lambda path: path.symlink_to("nowhere"), NotFoundError, "nowhere"),
        "itself": (lambda path: path.symlink_to(path), InvalidArgumentError, "itself"),
        "pipe": (os.mkfifo, InvalidArgumentError, "a pipe"),
        "socket": (make_socket, InvalidArgumentError, "a socket"),
        "caf\udce9": (lambda path: path.write_text("x"), InvalidArgumentError, "not UTF-8"),
    }
    here = Path.cwd()
    for name, (make, error, words) in cases.items():
        path = folder / name
        make(path)
        os.chdir(here)
        with pytest.raises(error, match=words):
            modeldb.log_dataset_version("bad", folder)
        modeldb.log_dataset_version(
            f"good {cases[name][2]}", modeldb.path(folder, exclude=[name.replace("\udce9", "?")])
        )
        path.unlink()
    empty = tmp_path / "empty"
    empty.mkdir()
    for data, error in (
        (modeldb.path(empty), InvalidArgumentError),
        (modeldb.path(tmp_path / "missing"), NotFoundError),
        ("missing/folder", NotFoundError),
        ("nothing", InvalidArgumentError),
        (modeldb.path("magic://x/y"), ModelDBError),
        (object(), InvalidTypeError),
    ):
        with pytest.raises(error):
            modeldb.log_dataset_version("bad", data)
    with pytest.raises(NotFoundError):
        _ = modeldb.dataset("bad").entity
    for make in (lambda: modeldb.path(""), lambda: modeldb.path("a", exclude="x"), lambda: modeldb.query(" ")):
        with pytest.raises(InvalidArgumentError):
            make()


def test_a_folder_that_changes_while_it_is_read_is_no_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files._hash_some

    def after(alter: Any) -> None:
        def hash_some(found: Any) -> Any:
            result = whole(found)
            alter()
            return result

        monkeypatch.setattr(files, "_hash_some", hash_some)
        with pytest.raises(FolderChangedError):
            find_files(folder, HashCache(None))
        monkeypatch.setattr(files, "_hash_some", whole)

    after(lambda: (folder / "b.csv").write_text("same"))
    after(lambda: (folder / "a" / "more.csv").write_text("added"))
    after(lambda: (folder / "a" / "more.csv").unlink())
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            (folder / "b.csv").write_text(str(count))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(FolderChangedError):
            for _ in range(10_000):
                find_files(folder, HashCache(None))
        while "b.csv" not in (found := find_files(folder, HashCache(None), is_lenient=True)).left_out:
            assert len(found.parts) == 4, "what a run logs stops no training"
    finally:
        stop.set()
        writer.join()


def test_a_cache_that_is_damaged_or_somebody_elses_gives_no_digest(folder: Path, tmp_path: Path) -> None:
    def count(where: Path | None) -> int:
        cache = HashCache(where)
        try:
            found = find_files(folder, cache)
            assert found.digest == expected
            return found.hashed
        finally:
            cache.close()

    expected, where = folder_digest(folder)[0], tmp_path / "hashes"
    assert [count(where), count(where), count(None)] == [4, 0, 4]
    import sqlite3

    with sqlite3.connect(where / "hashes-1.db") as connection:
        connection.execute("UPDATE files SET digest = zeroblob(32)")
    connection.close()
    assert [count(where), count(where)] == [4, 0], "a row that was altered counts for nothing"
    (where / "hashes-1.db").write_bytes(b"no database" * 100)
    assert [count(where), count(where), count(where)] == [4, 4, 0]
    where.chmod(0o777)
    assert count(where) == 4
    where.chmod(0o700)
    (where / "hashes-1.db").chmod(0o666)
    assert count(where) == 4
    (where / "hashes-1.db").unlink()
    (where / "hashes-1.db").symlink_to(tmp_path / "elsewhere")
    assert count(where) == 4
    assert not (tmp_path / "elsewhere").exists()


def test_objects_are_kept_and_compared(client: Client) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    objects: dict[str, Any] = {
        "pandas": frame,
        "polars": polars.DataFrame({"x": [1, None], "y": ["a", "b"]}),
        "array": np.arange(6.0).reshape(2, 3),
        "sparse": sparse.csr_array(np.eye(3)),
        "list": [1, "two", None],
        "map": {"a": [1, 2]},
    }
    for name, data in objects.items():
        version = modeldb.log_dataset_version(name, data, keep=True)
        loaded = modeldb.dataset(name).version("v1").load()
        assert type(loaded) is type(data)
        assert modeldb.log_dataset_version(name, loaded).version_id == version.version_id, name
    changed = frame.assign(x=[1.0, 4.0], z=[True, False]).drop(columns="y")
    modeldb.log_dataset_version("pandas", changed)
    diff = modeldb.dataset("pandas").diff("v1")
    assert (dict(diff.columns_added), list(diff.columns_removed)) == ({"z": "bool"}, ["y"])
    assert (diff.statistics["x"]["max"].before, diff.statistics["x"]["max"].after) == (2.0, 4.0)
    assert modeldb.dataset("pandas").version().entity.info["statistics"]["z"]["missing"] == 0
    with pytest.raises(NotFoundError, match="not kept"):
        modeldb.dataset("pandas").version().load()
    with pytest.raises((InvalidTypeError, MissingDependencyError)):
        modeldb.log_dataset_version("lost", np.array([object()]), keep=True)


def test_a_query_is_the_same_version_whenever_it_is_asked(client: Client) -> None:
    from datetime import UTC, datetime

    from sqlalchemy import create_engine, text

    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        rows = connection.execute(text("select :n as n"), {"n": 1}).fetchall()
    engine.dispose()

    def log(**options: Any) -> Any:
        known = {"source": engine, "parameters": {"n": 1}, "result": rows, **options}
        return modeldb.log_dataset_version("answers", modeldb.query("select :n as n", **known))

    first = log(executed_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert log(executed_at=datetime(2026, 2, 1, tzinfo=UTC)).version_id == first.version_id
    assert (first.entity.record_count, first.entity.dataset_type, first.entity.source) == (1, "query", "sqlite://")
    second = log(parameters={"n": 2}, source="postgresql://ada:secret@host/db")
    assert (second.version, second.entity.source) == (2, "postgresql://ada:***@host/db")
    assert "secret" not in str(second.entity.document)
    diff = modeldb.dataset("answers").diff(1)
    assert diff.values["query_parameters"].after == {"n": 2}
    with pytest.raises(InvalidArgumentError, match="of type query"):
        modeldb.log_dataset_version("answers", [1, 2])
    with pytest.raises(InvalidArgumentError):
        modeldb.query("select 1", keep=True)


def test_objects_of_any_storage_are_parts(client: Client, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name, content in (("/bucket/train/a.csv", b"a"), ("/bucket/train/deep/b.csv", b"bb"), ("/bucket/not.csv", b"")):
        memory.pipe(name, content)
    try:
        version = modeldb.log_dataset_version("remote", modeldb.path("memory://bucket/train", keep=True))
        assert {location: entry["size_bytes"] for location, entry in version.parts()} == {"a.csv": 1, "deep/b.csv": 2}
        assert version.checkout(tmp_path / "out").joinpath("deep", "b.csv").read_bytes() == b"bb"
        assert version.digest == folder_digest(tmp_path / "out")[0]
        one = modeldb.log_dataset_version("remote/one", "memory://bucket/train/a.csv")
        with modeldb.use_dataset("remote/one") as data:
            assert str(data) == "memory://bucket/train/a.csv"
        memory.pipe("/bucket/train/a.csv", b"altered")
        with pytest.raises(IntegrityError, match=r"a\.csv"), modeldb.use_dataset("remote/one"):
            pass
        assert one.entity.part_count == 1
        with pytest.raises(NotFoundError):
            modeldb.log_dataset_version("remote", modeldb.path("memory://bucket/nothing"))
        memory.pipe("/bucket/train//a.csv", b"another object")
        with pytest.raises(InvalidArgumentError, match="'/a.csv'"):
            modeldb.log_dataset_version("remote", modeldb.path("memory://bucket/train"))
    finally:
        memory.rm("/bucket", recursive=True)


def test_what_a_journal_brings_is_numbered_by_the_store(client: Client) -> None:
    with client.start_run(capture=False) as run:
        first = run.log_dataset([1, 2, 3], name="numbers")
    client.flush()
    added = modeldb.log_dataset_version("numbers", [4, 5])
    assert [(each.version, each.version_id) for each in modeldb.dataset("numbers").versions()] == [
        (2, added.version_id),
        (1, first),
    ]
    writer = StreamWriter()
    writer.create(
        "dataset_version", dataset_id=modeldb.dataset("numbers").dataset_id, dataset_type="raw", digest="f" * 64
    )
    client.store.apply(writer.changes)
    assert modeldb.log_dataset_version("numbers", [6]).version == 4
    assert [each.version for each in modeldb.dataset("numbers").versions()] == [4, 3, 2, 1]


def test_content_that_was_logged_before_is_kept_once_that_is_asked_for(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    with client.start_run(capture=False) as run:
        run.log_dataset(modeldb.path(folder), name="churn/train")
        run.log_dataset(modeldb.path(folder, keep=True), "test", name="churn/train")
        run.log_dataset(modeldb.path(folder), "again", name="churn/train")
    client.flush()
    version = modeldb.dataset("churn/train").version("latest")
    assert version.entity.is_kept
    assert folder_digest(version.checkout(tmp_path / "out"))[0] == version.digest


def test_a_file_that_is_written_to_while_it_is_logged_stops_no_training(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files._hash_file

    def hash_file(file: Any, buffer: bytearray) -> bytes:
        with open(file.path, "a") as stream:
            stream.write("more")
        return whole(file, buffer)

    monkeypatch.setattr(files, "_hash_file", hash_file)
    with client.start_run(capture=False) as run:
        ids = {run.log_dataset(modeldb.path(folder / "b.csv", keep=True), role, name="one") for role in ("a", "b")}
    client.flush()
    versions = modeldb.dataset("one").versions()
    assert {each.version_id for each in versions} == ids
    assert len(ids) == 2, "nobody knows whether the content is the same"
    assert {(each.digest, each.entity.is_kept) for each in versions} == {("", False)}
    assert "written to while it was read" in str(versions[0].entity.document["info"]["note"])


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1100):
            os.mkdir("a")
            os.chdir("a")
        Path("file").write_text("deep")
    finally:
        os.chdir(here)
    try:
        assert [part.location for part in find_files(tmp_path, HashCache(None)).parts] == ["a/" * 1100 + "file"]
    finally:
        for depth in range(1100, 0, -1):  # what removes folders recurses, too
            folder = tmp_path / ("a/" * depth)
            (folder / "file").unlink(missing_ok=True)
            folder.rmdir()


def test_a_commit_holds_paths_and_queries(client: Client, folder: Path, tmp_path: Path) -> None:
    repository = modeldb.repository("churn")
    with repository.commit("data", branch="main") as commit:
        commit["data/train"] = modeldb.path(folder, keep=True)
        commit["data/customers"] = modeldb.query("select 1", source="postgresql://ada:secret@host/db")
    os.utime(folder / "b.csv", (1, 1))
    with pytest.raises(InvalidArgumentError), repository.commit("touched", branch="main") as commit:
        commit["data/train"] = modeldb.path(folder, keep=True)
    (folder / "b.csv").write_text("other")
    with repository.commit("changed", branch="main") as commit:
        commit["data/train"] = modeldb.path(folder, keep=True)
    repository["main~1"].checkout(tmp_path / "out")
    assert (tmp_path / "out" / "data" / "train" / "b.csv").read_text() == "same"
    repository["main"].checkout(tmp_path / "out")
    assert folder_digest(tmp_path / "out" / "data" / "train") == folder_digest(folder)
    assert "secret" not in (tmp_path / "out" / "data" / "customers").read_text()


def test_the_version_of_an_object_in_a_bucket_is_recorded_and_read(client: Client, s3: SeaweedFS) -> None:
    bucket, storage = s3.new_bucket(), s3.client()
    storage.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name, body in (("train/a.csv", b"a"), ("train/deep/b.csv", b"b"), ("other.csv", b"c")):
        storage.put_object(Bucket=bucket, Key=name, Body=body)
    options = {
        "key": s3.environment["AWS_ACCESS_KEY_ID"],
        "secret": s3.environment["AWS_SECRET_ACCESS_KEY"],
        "client_kwargs": {"endpoint_url": s3.endpoint_url},
    }
    own = fsspec.filesystem("s3", **options)
    data = modeldb.path(f"s3://{bucket}/train", keep=True, storage_options=options)
    first = modeldb.log_dataset_version("bucket", data)
    parts = dict(first.parts())
    assert (sorted(parts), first.read.hashed) == (["a.csv", "deep/b.csv"], 2)
    assert not own.version_aware, "the program's own file system stays as it was"
    versions = storage.list_object_versions(Bucket=bucket, Prefix="train/a.csv")["Versions"]
    assert parts["a.csv"]["observed"]["version_id"] == versions[0]["VersionId"]
    assert parts["a.csv"]["observed"]["modified_at"] > 0
    assert modeldb.log_dataset_version("bucket", data).read.hashed == 0, "what has a version is read once"
    storage.put_object(Bucket=bucket, Key="train/a.csv", Body=b"other")
    second = modeldb.log_dataset_version("bucket", data)
    assert (second.version, second.read.hashed) == (2, 1)
    assert dict(modeldb.dataset("bucket").diff(1).changed).keys() == {"a.csv"}
    assert options["secret"] not in str(second.entity.document)
    with pytest.raises(NotFoundError):
        modeldb.log_dataset_version("bucket", modeldb.path(f"s3://{bucket}/nothing", storage_options=options))


LOSSY: dict[str, Any] = {
    "masks": np.ma.array([1, 2], mask=[0, 1]),
    "missing integers": pd.Series([1, None], dtype="Int64"),
    "categories": pd.Series(["a"], dtype="category"),
    "keys that are numbers": {1: 2},
    "missing numbers in a list": [float("nan")],
    "arrays in a list": [np.zeros(2)],
    "lists in cells": pd.DataFrame({"a": [[1], [2, 3]]}),
}


@pytest.mark.parametrize("name", LOSSY)
def test_what_would_come_back_as_something_else_is_not_kept(client: Client, name: str) -> None:
    with pytest.raises(InvalidTypeError, match="as it is|without changing it"):
        modeldb.log_dataset_version("data", LOSSY[name], keep=True, client=client)


KEPT: dict[str, Any] = {
    "seconds": pd.DataFrame({"a": np.array([1], "M8[s]"), "b": np.array([1], "m8[s]")}),
    "missing texts": pd.DataFrame({"a": pd.Series(["a", np.nan], dtype=object)}),
    "rows of lists": sparse.lil_array([[1, 0]]),
    "sparse by keys": sparse.dok_array([[1, 0]]),
    "decimals": polars.DataFrame({"a": [Decimal("1.10")]}),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_comes_back_as_the_same_content(client: Client, name: str) -> None:
    version = modeldb.log_dataset_version("data", KEPT[name], keep=True, client=client)
    assert modeldb.log_dataset_version("data", version.load(), client=client).reference == version.reference
