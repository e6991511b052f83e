"""Long content is hashed by another thread while the one that logs it writes it."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.errors import IntegrityError, StoreUnavailableError
from modeldb_core.journal import uploads
from modeldb_core.runtime.hashing import hashing
from modeldb_core.stores import BlobInfo

CONTENT = os.urandom((5 << 20) + 123)
INFO = BlobInfo(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def hashed_here(monkeypatch):
    """The lengths of what the calling thread hashes."""
    lengths, here, sha256 = [], threading.get_ident(), hashlib.sha256

    class Watched:
        def __init__(self, data=b""):
            self._sha = sha256()
            self.update(data)

        def update(self, data):
            if threading.get_ident() == here:
                lengths.append(len(data))
            self._sha.update(data)

        def hexdigest(self):
            return self._sha.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Watched)
    return lengths


def put(folder, stream):
    return FsspecArtifactStore(f"file://{folder}/blobs").put(stream)


def put_as_an_upload(folder, stream):
    taken = FsspecArtifactStore(f"file://{folder}/blobs").uploads
    content, at = stream.read(), 0
    while at < len(content):
        at = taken.append(INFO.digest, at, content[at : at + (2 << 20)])
    return taken.finish(INFO.digest, INFO)


def spool(folder, stream):
    return uploads.spool(stream, folder / "stream" / "spool")


WAYS = pytest.mark.parametrize("keep", [put, put_as_an_upload, spool])


@WAYS
def test_the_thread_that_logs_a_long_file_does_not_hash_it(tmp_path, hashed_here, keep):
    assert keep(tmp_path, io.BytesIO(CONTENT)) == INFO
    assert sum(hashed_here) < 1000
    (kept,) = [path for path in Path(tmp_path).rglob(INFO.digest) if path.is_file()]
    assert kept.read_bytes() == CONTENT


def test_short_content_wakes_no_thread(tmp_path, hashed_here):
    put(tmp_path, io.BytesIO(b"short"))
    spool(tmp_path, io.BytesIO(b"short"))
    assert sum(hashed_here) == 10


def test_a_write_that_fails_leaves_no_hashing_behind_and_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise StoreUnavailableError

    monkeypatch.setattr(uploads, "_write", full)
    with pytest.raises(StoreUnavailableError):
        spool(tmp_path, io.BytesIO(CONTENT))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    content, sha = bytearray(CONTENT), hashlib.sha256()
    with suppress(KeyError), hashing(sha, memoryview(content)):
        raise KeyError
    content[:] = bytes(len(content))
    assert sha.hexdigest() == INFO.digest


def test_a_stream_of_another_digest_is_refused(tmp_path):
    store = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    with pytest.raises(IntegrityError):
        store.put(io.BytesIO(CONTENT[:-1]), digest=INFO.digest)
    assert list(store.list()) == []
