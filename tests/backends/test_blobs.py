"""The blob store passes the suite on folders and in memory, and fails cleanly where it cannot write."""

from __future__ import annotations

import datetime
import errno
import hashlib
import io
import os
import stat
import time
import uuid

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.plugins import open_artifacts
from modeldb_core.testing import ArtifactStoreTests

MIB = 1 << 20


def place(root, digest):
    return root / digest[:2] / digest


class TestFolder(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, tmp_path):
        return lambda: FsspecArtifactStore(f"file://{tmp_path}/blobs")

    def damage(self, store, digest, content):
        from pathlib import Path

        place(Path(store.url.removeprefix("file://")), digest).write_bytes(content)

    def age(self, store, digest, seconds):
        from pathlib import Path

        then = time.time() - seconds
        os.utime(place(Path(store.url.removeprefix("file://")), digest), (then, then))
        return True


class TestFsspec(ArtifactStoreTests):
    """Any file system of fsspec; its own one in memory here."""

    @pytest.fixture
    def make_artifacts(self, tmp_path):
        return lambda: FsspecArtifactStore(f"memory://{tmp_path}")

    def damage(self, store, digest, content):
        import fsspec

        fs, root = fsspec.core.url_to_fs(store.url)
        fs.pipe_file(f"{root}/{digest[:2]}/{digest}", content)

    def age(self, store, digest, seconds):
        import fsspec

        fs, root = fsspec.core.url_to_fs(store.url)
        fs.store[f"{root}/{digest[:2]}/{digest}"].created -= datetime.timedelta(seconds=seconds)
        return True


@pytest.fixture
def root(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
def store(root):
    return FsspecArtifactStore(f"file://{root}")


def test_file_urls_open_it(tmp_path):
    store = open_artifacts(f"file://{tmp_path}/blobs")
    assert isinstance(store, FsspecArtifactStore)
    assert store.is_local
    assert store.url == f"file://{tmp_path}/blobs"


def test_opening_makes_no_folder(root, store):
    assert list(store.list()) == []
    with pytest.raises(NotFoundError):
        store.stat("0" * 64)
    assert not root.exists()


def test_a_blob_lies_under_its_digest(root, store):
    info = store.put(io.BytesIO(b"content"))
    assert place(root, info.digest).read_bytes() == b"content"


def test_unfinished_writing_is_private_and_leaves_nothing(root, store):
    class Source(io.BytesIO):
        def read(self, size=-1):
            if self.tell() >= 2 * MIB:
                self.seen = [(path.parent.stat().st_mode, path.stat().st_size) for path in root.glob(".incoming*/*")]
                raise KeyboardInterrupt
            return super().read(size)

    source = Source(os.urandom(3 * MIB))
    with pytest.raises(KeyboardInterrupt):
        store.put(source)
    ((mode, size),) = source.seen
    assert stat.S_IMODE(mode) == 0o700
    assert size == 2 * MIB
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_files_of_writers_killed_days_ago_are_removed(root, store):
    store.put(io.BytesIO(b"makes the folders"))
    (incoming,) = root.glob(".incoming*")
    old, young, strange = incoming / uuid.uuid4().hex, incoming / uuid.uuid4().hex, incoming / "thesis.txt"
    days_ago = time.time() - 3 * 86400
    for path in (old, young, strange):
        path.write_bytes(b"torn")
        if path is not young:
            os.utime(path, (days_ago, days_ago))
    FsspecArtifactStore(store.url).put(io.BytesIO(b"another"))
    assert (old.exists(), young.exists(), strange.exists()) == (False, True, True)


def test_strange_files_in_the_folder_are_not_listed(root, store):
    info = store.put(io.BytesIO(b"content"))
    (root / "ab" / "cd").mkdir(parents=True)
    (root / "ab" / "cd" / "README").write_text("mine")
    (root / "notes.txt").write_text("mine")
    assert list(store.list()) == [info]


def test_a_blob_that_is_there_is_not_written_again(root, store):
    for content in (b"small", os.urandom(3 * MIB)):
        info = store.put(io.BytesIO(content))
        inode = place(root, info.digest).stat().st_ino
        store.put(io.BytesIO(content))
        store.put(io.BytesIO(content), digest=info.digest)
        assert place(root, info.digest).stat().st_ino == inode


def test_a_full_disk_is_a_typed_error(tmp_path, store, monkeypatch):
    # A device that is always full stands in for the temporary file: the system itself refuses the bytes.
    def create(self):
        return str(tmp_path / "gone"), open("/dev/full", "wb", buffering=0)

    monkeypatch.setattr("modeldb_core.backends.blobs.local_files.LocalFiles.create", create)
    for content in (b"small", os.urandom(3 * MIB)):
        with pytest.raises(StoreUnavailableError, match="full") as caught:
            store.put(io.BytesIO(content))
        assert caught.value.__cause__.errno == errno.ENOSPC


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_typed_error(root, store):
    root.mkdir()
    root.chmod(0o500)
    try:
        with pytest.raises(StoreReadOnlyError, match="permission"):
            store.put(io.BytesIO(b"x"))
    finally:
        root.chmod(0o700)


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs a file system that nobody can write")
def test_a_file_system_that_cannot_be_written_is_a_typed_error():
    with pytest.raises((StoreReadOnlyError, StoreUnavailableError)):
        FsspecArtifactStore("file:///proc/modeldb").put(io.BytesIO(b"x"))


def test_a_file_in_place_of_the_folder_is_a_typed_error(tmp_path):
    (tmp_path / "blobs").write_text("a file")
    store = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    with pytest.raises(StoreUnavailableError, match="blobs"):
        store.put(io.BytesIO(b"x"))


def test_a_stream_that_cannot_seek_cannot_mend_a_damaged_blob(root, store):
    content = os.urandom(1000)
    info = store.put(io.BytesIO(content))
    place(root, info.digest).write_bytes(content[:10])
    source = io.BytesIO(content)
    source.seekable = lambda: False
    with pytest.raises(IntegrityError, match="damaged"):
        store.put(source, digest=info.digest)


@pytest.mark.parametrize("url", ["file://", "folder", "", "/data/blobs"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(InvalidArgumentError, match="file:///"):
        FsspecArtifactStore(url)


def test_unknown_schemes_are_refused():
    with pytest.raises(ConfigurationError, match="gopher"):
        FsspecArtifactStore("gopher://host/folder")


def test_a_folder_takes_no_options(tmp_path):
    with pytest.raises(ConfigurationError, match="anonymous"):
        FsspecArtifactStore(f"file://{tmp_path}", anonymous=True)


def test_a_folder_may_be_shared_with_the_store_of_runs_and_its_options(tmp_path):
    info = FsspecArtifactStore(f"file://{tmp_path}/blobs?compact=false", allow_stale=True).put(io.BytesIO(b"x"))
    assert place(tmp_path / "blobs", info.digest).exists()


def test_what_belongs_to_somebody_else_is_written_anew_before_it_is_taken_for_old(root, store, monkeypatch):
    # What another user put can be replaced in a shared folder, but not touched.
    monkeypatch.setattr("modeldb_core.backends.blobs.local_files.LocalFiles.touch", lambda self, path: False)
    for content in (b"small", os.urandom(3 * MIB)):
        info = store.put(io.BytesIO(content))
        inode = place(root, info.digest).stat().st_ino
        store.put(io.BytesIO(content), digest=info.digest)
        assert place(root, info.digest).stat().st_ino == inode
        long_ago = time.time() - 5 * 86400
        os.utime(place(root, info.digest), (long_ago, long_ago))
        store.put(io.BytesIO(content), digest=info.digest)
        assert time.time() - place(root, info.digest).stat().st_mtime < 86400


def test_secrets_in_a_url_do_not_show():
    store = FsspecArtifactStore("memory://user:hunter2@host/folder")
    assert "hunter2" not in store.url


def test_damage_in_the_middle_shows_before_the_last_bytes_come_out(root, store):
    content = os.urandom(3 * MIB)
    info = store.put(io.BytesIO(content))
    place(root, info.digest).write_bytes(b"\0" + content[1:])
    with store.open(info.digest) as stream:
        assert stream.read(MIB) == b"\0" + content[1:MIB]
        assert len(stream.read(MIB)) == MIB
        with pytest.raises(IntegrityError, match=info.digest):
            stream.read(MIB)


def test_reading_hashes_each_byte_once(store, monkeypatch):
    content = os.urandom(2 * MIB)
    info = store.put(io.BytesIO(content))
    with store.open(info.digest) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == info.digest
        stream.seek(0)
        assert stream.read(10) == content[:10]
