"""Long files go to a server once: each byte is sent, written and hashed one time, and what broke off is gone on with."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.blobs import uploads as folder_uploads
from modeldb_core.backends.blobs.uploads import FolderUploads
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.errors import IntegrityError, InvalidArgumentError, NotFoundError, StoreUnavailableError
from modeldb_core.plugins import open_store
from modeldb_core.runtime import disk
from modeldb_core.stores import BlobInfo, protocol
from tests.services.server import serving, serving_folder
from tests.waiting import wait_until

PART = 1 << 16
CONTENT = os.urandom(10 * PART + 123)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
INFO = BlobInfo(DIGEST, len(CONTENT))
linux = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count what is written")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Let everything be sent in parts of 64 KiB."""
    monkeypatch.setattr(protocol, "PART_BYTES", PART)


@pytest.fixture
def folder(tmp_path):
    return FsspecArtifactStore(f"file://{tmp_path}/blobs")


@pytest.fixture
def url(tmp_path):
    with serving_folder(tmp_path) as url:
        yield url


class OnceOnly(io.RawIOBase):
    """A stream that cannot go back."""

    def __init__(self, content):
        self._content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._content.readinto(buffer)


class Breaking(OnceOnly):
    """One that ends with an error."""

    def readinto(self, buffer):
        count = super().readinto(buffer)
        if not count:
            raise OSError("unplugged")
        return count


class Watched(RemoteArtifactStore):
    """Notes the bytes of the pieces that it sends; ``asked`` is called before each."""

    def __init__(self, url, asked=lambda: None):
        super().__init__(url)
        self.sent = []
        append = self.uploads.append

        def counted(upload, offset, content):
            asked()
            self.sent.append(len(content))
            return append(upload, offset, content)

        self.uploads.append = counted


def incoming(tmp_path):
    return [path for folder in (tmp_path / "blobs").glob(".incoming-*") for path in folder.iterdir()]


def written_bytes():
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


@pytest.fixture
def hashed(monkeypatch):
    """The lengths of what is hashed of more than a few bytes, by whomever."""
    lengths = []

    class Counting:
        def __init__(self, data=b""):
            self._sha = hashlib.new("sha256", data)
            lengths.append(len(data))

        def update(self, data):
            lengths.append(len(data))
            self._sha.update(data)

        def hexdigest(self):
            return self._sha.hexdigest()

        def digest(self):
            return self._sha.digest()

    monkeypatch.setattr(hashlib, "sha256", Counting)
    return lengths


@linux
def test_a_long_file_is_sent_written_and_hashed_once(url, tmp_path, hashed):
    artifacts = Watched(url)
    artifacts.put(io.BytesIO(b"first"))
    hashed.clear()
    before = written_bytes()
    assert artifacts.put(io.BytesIO(CONTENT), digest=DIGEST) == INFO
    assert written_bytes() - before < 1.1 * len(CONTENT)
    assert sum(artifacts.sent) == len(CONTENT)
    assert len(CONTENT) <= sum(hashed) < 1.1 * len(CONTENT)
    with artifacts.open(DIGEST) as stream:
        assert stream.read() == CONTENT
    assert incoming(tmp_path) == []


def test_small_files_together_are_sent_in_one_request_and_hashed_once(url, folder, hashed, monkeypatch):
    contents = [os.urandom(500) for _ in range(100)]
    digests = [hashlib.new("sha256", content).hexdigest() for content in contents]
    artifacts, requests = RemoteArtifactStore(url), []
    artifacts.put(io.BytesIO(b"first"))
    request = artifacts._connection.request
    monkeypatch.setattr(artifacts._connection, "request", lambda *a, **k: requests.append(a) or request(*a, **k))
    hashed.clear()
    assert artifacts.put_many(contents) == digests
    assert len(requests) == 1
    assert 50_000 <= sum(hashed) < 1.2 * 50_000
    assert sorted(info.digest for info in folder.list()) == sorted(
        [*digests, hashlib.new("sha256", b"first").hexdigest()]
    )


@linux
def test_a_stream_that_cannot_go_back_is_written_once(url, tmp_path):
    artifacts = Watched(url)
    before = written_bytes()
    assert artifacts.put(OnceOnly(CONTENT)) == INFO
    assert written_bytes() - before < 1.1 * len(CONTENT)
    assert artifacts.open(DIGEST).read() == CONTENT
    assert incoming(tmp_path) == []


def test_what_a_file_is_there_for_is_compared_and_not_sent(url):
    artifacts = Watched(url)
    artifacts.put(io.BytesIO(CONTENT), digest=DIGEST)
    artifacts.sent.clear()
    assert artifacts.put(io.BytesIO(CONTENT), digest=DIGEST) == INFO
    with pytest.raises(IntegrityError, match=DIGEST):
        artifacts.put(io.BytesIO(bytes(len(CONTENT))), digest=DIGEST)
    assert artifacts.sent == []


@pytest.mark.parametrize("digest", [DIGEST, None], ids=["known", "unknown"])
def test_another_process_and_another_server_go_on_where_an_upload_broke_off(tmp_path, digest):
    def cut():
        if len(first.sent) == 6:
            raise StoreUnavailableError

    with serving_folder(tmp_path) as url:
        first = Watched(url, cut)
        with pytest.raises(StoreUnavailableError):
            first.put(io.BytesIO(CONTENT), digest=digest)
    with serving_folder(tmp_path) as url:
        second = Watched(url)
        assert second.put(io.BytesIO(CONTENT), digest=digest) == INFO
        assert sum(second.sent) == len(CONTENT) - 6 * PART
        assert second.open(DIGEST).read() == CONTENT
    assert incoming(tmp_path) == []


def test_two_who_send_the_same_file_at_once_make_one_blob(url, folder, tmp_path):
    stores = [Watched(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        puts = [pool.submit(store.put, io.BytesIO(CONTENT), digest=DIGEST) for store in stores]
        assert [put.result() for put in puts] == [INFO] * 4
    assert list(folder.list()) == [INFO]
    assert folder.open(DIGEST).read() == CONTENT
    assert incoming(tmp_path) == []


@pytest.mark.parametrize("length", [PART, len(CONTENT), 2 * len(CONTENT)])
def test_what_somebody_else_sent_under_the_name_of_a_file_does_not_keep_it_away(url, folder, length):
    folder.uploads.append(DIGEST, 0, bytes(length))
    assert RemoteArtifactStore(url).put(io.BytesIO(CONTENT), digest=DIGEST) == INFO
    assert folder.open(DIGEST).read() == CONTENT


def test_a_file_of_another_digest_is_refused_and_leaves_nothing(url, folder, tmp_path):
    with pytest.raises(IntegrityError, match=DIGEST):
        RemoteArtifactStore(url).put(io.BytesIO(bytes(len(CONTENT))), digest=DIGEST)
    with pytest.raises(IntegrityError, match=DIGEST):
        RemoteArtifactStore(url).put(OnceOnly(bytes(len(CONTENT))), digest=DIGEST)
    assert list(folder.list()) == []
    assert incoming(tmp_path) == []


def test_an_upload_that_broke_off_in_a_piece_goes_on_there(folder):
    uploads = folder.uploads
    assert uploads.append(DIGEST, 0, CONTENT[:100]) == 100
    assert uploads.append(DIGEST, 0, CONTENT[:PART]) == 100, "what was sent again is not added again"
    assert uploads.append(DIGEST, 200, CONTENT[200:]) == 100
    assert uploads.append(DIGEST, 100, CONTENT[100:]) == len(CONTENT) == uploads.received(DIGEST)
    assert uploads.finish(DIGEST, INFO) == INFO
    assert uploads.finish(DIGEST, INFO) == INFO, "as asked by those who did not hear the answer"
    assert uploads.received(DIGEST) == 0


def test_a_hash_is_not_carried_on_over_what_another_process_wrote(folder, tmp_path):
    other = FsspecArtifactStore(f"file://{tmp_path}/blobs")
    folder.uploads.append(DIGEST, 0, CONTENT[:PART])
    other.uploads.discard(DIGEST)
    other.uploads.append(DIGEST, 0, bytes(PART))
    folder.uploads.append(DIGEST, PART, CONTENT[PART:])
    with pytest.raises(IntegrityError):
        folder.uploads.finish(DIGEST, INFO)
    assert list(folder.list()) == []


def test_more_uploads_at_once_than_hashes_are_kept_are_right_too(folder, monkeypatch):
    monkeypatch.setattr(folder_uploads, "_MAX_HASHES", 2)
    contents = {hashlib.sha256(content).hexdigest(): content for content in (os.urandom(3000) for _ in range(5))}
    for start in range(0, 3000, 1000):
        for digest, content in contents.items():
            folder.uploads.append(digest, start, content[start : start + 1000])
    for digest, content in contents.items():
        folder.uploads.finish(digest, BlobInfo(digest, len(content)))
        assert folder.open(digest).read() == content


def test_the_next_piece_arrives_while_the_server_writes_one(url, folder, tmp_path):
    folder.uploads.append(DIGEST, 0, CONTENT[:PART])
    (upload,) = incoming(tmp_path)
    artifacts = Watched(url)
    with ThreadPoolExecutor(1) as pool:
        with upload.open("rb") as file:
            disk.lock(file.fileno())  # so does the writer of a piece
            put = pool.submit(artifacts.put, io.BytesIO(CONTENT), digest=DIGEST)
            wait_until(lambda: len(artifacts.sent) >= 2)
            time.sleep(0.3)
            assert artifacts.sent == [PART, PART], "what is on its way is in memory, so it is not more than that"
            assert not put.done()
        assert put.result() == INFO
    assert sum(artifacts.sent) == len(CONTENT) - PART


def test_a_piece_waits_for_the_one_before_it(folder, monkeypatch):
    monkeypatch.setattr(folder_uploads, "_PATIENCE_S", 30)
    with ThreadPoolExecutor(2) as pool:
        later = [pool.submit(folder.uploads.append, DIGEST, at, CONTENT[at : at + PART]) for at in (2 * PART, PART)]
        time.sleep(0.1)
        assert not any(each.done() for each in later)
        assert folder.uploads.append(DIGEST, 0, CONTENT[:PART]) == PART
        assert [each.result() for each in later] == [3 * PART, 2 * PART]
    folder.uploads.append(DIGEST, 3 * PART, CONTENT[3 * PART :])
    assert folder.uploads.finish(DIGEST, INFO) == INFO


def test_a_long_file_is_in_memory_a_few_pieces_at_a_time(url):
    content = os.urandom(100 * PART)
    digest = hashlib.sha256(content).hexdigest()
    RemoteArtifactStore(url).put(io.BytesIO(CONTENT))
    artifacts = RemoteArtifactStore(url)
    gc.disable()
    tracemalloc.start()
    try:
        artifacts.put(io.BytesIO(content), digest=digest)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert most < 20 * PART


def test_a_stream_that_breaks_leaves_nothing_that_begins_its_upload_again(url, tmp_path, monkeypatch):
    append = FolderUploads._append

    def slow(self, upload, offset, content):
        time.sleep(0.3)
        return append(self, upload, offset, content)

    monkeypatch.setattr(FolderUploads, "_append", slow)
    with pytest.raises(OSError, match="unplugged"):
        RemoteArtifactStore(url).put(Breaking(CONTENT[: PART + 1]))
    time.sleep(0.5)
    assert incoming(tmp_path) == []


@pytest.mark.parametrize("stream", [io.BytesIO, OnceOnly])
def test_pieces_that_overtake_one_another_are_sent_again(url, tmp_path, monkeypatch, stream):
    monkeypatch.setattr(folder_uploads, "_PATIENCE_S", 0)
    append, seen = FolderUploads._append, set()

    def slow(self, upload, offset, content):
        if offset % (3 * PART) == PART and offset not in seen:
            seen.add(offset)
            time.sleep(0.2)
        return append(self, upload, offset, content)

    monkeypatch.setattr(FolderUploads, "_append", slow)
    artifacts = Watched(url)
    assert artifacts.put(stream(CONTENT)) == INFO
    assert sum(artifacts.sent) > len(CONTENT), "else none overtook another"
    assert artifacts.open(DIGEST).read() == CONTENT
    assert incoming(tmp_path) == []


def test_what_is_no_name_of_an_upload_is_refused(url, folder):
    for name in ("../../etc/passwd", DIGEST.upper(), "a" * 63, ""):
        with pytest.raises(InvalidArgumentError, match="name of an upload"):
            folder.uploads.append(name, 0, b"x")
    with pytest.raises(InvalidArgumentError, match="name of an upload"):
        RemoteArtifactStore(url).uploads.received("A" * 64)
    with pytest.raises(NotFoundError, match="begin it again"):
        folder.uploads.finish("0" * 64, INFO)


def test_an_upload_that_nobody_goes_on_with_is_removed_days_later(folder, tmp_path):
    folder.uploads.append(DIGEST, 0, CONTENT)
    (left,) = incoming(tmp_path)
    long_ago = time.time() - 5 * 86400
    os.utime(left, (long_ago, long_ago))
    FsspecArtifactStore(f"file://{tmp_path}/blobs").put(io.BytesIO(b"another"))
    assert incoming(tmp_path) == []


def test_a_link_in_place_of_an_upload_is_not_followed(folder, tmp_path):
    folder.uploads.append(DIGEST, 0, b"x")
    (upload,) = incoming(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    upload.unlink()
    upload.symlink_to(victim)
    with pytest.raises(StoreUnavailableError):
        folder.uploads.append(DIGEST, 0, b"x")
    assert victim.read_bytes() == b""


def test_a_file_goes_through_a_server_over_a_server_once(tmp_path, url):
    with open_store(f"sqlite:///{tmp_path}/b.db") as store, serving(store, RemoteArtifactStore(url)) as above:
        artifacts = Watched(above)
        assert artifacts.put(io.BytesIO(CONTENT), digest=DIGEST) == INFO
        assert sum(artifacts.sent) == len(CONTENT)
        assert artifacts.open(DIGEST).read() == CONTENT
    assert incoming(tmp_path) == []


def test_an_artifact_store_without_uploads_is_sent_parts(tmp_path):
    with (
        open_store(f"sqlite:///{tmp_path}/a.db") as store,
        serving(store, FsspecArtifactStore("memory://without-uploads")) as url,
    ):
        artifacts = Watched(url)
        for content in (io.BytesIO(CONTENT), OnceOnly(CONTENT[1:])):
            info = artifacts.put(content)
            assert artifacts.open(info.digest).read() == CONTENT[-info.size_bytes :]
        assert len(list(artifacts.list())) == 2
        assert artifacts.sent == []


def test_parts_that_an_artifact_store_without_uploads_has_are_not_sent_again(tmp_path, monkeypatch):
    with (
        open_store(f"sqlite:///{tmp_path}/a.db") as store,
        serving(store, FsspecArtifactStore("memory://parts-that-are-there")) as url,
    ):
        artifacts, sent = RemoteArtifactStore(url), []
        request = artifacts._connection.request

        def counted(method, path, *arguments, **options):
            if method == "PUT":
                sent.append(path)
                if len(sent) == 5:
                    raise KeyboardInterrupt
            return request(method, path, *arguments, **options)

        monkeypatch.setattr(artifacts._connection, "request", counted)
        with pytest.raises(KeyboardInterrupt):
            artifacts.put(io.BytesIO(CONTENT), digest=DIGEST)
        assert artifacts.put(io.BytesIO(CONTENT), digest=DIGEST) == INFO
        assert len(sent) == 5 + 7, "of eleven parts four were there"
        assert list(artifacts.list()) == [INFO]
