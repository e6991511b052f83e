"""Blobs in a bucket: the suite on real servers, and what only a bucket has."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import http.server
import io
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from modeldb_core.backends.blobs import multipart
from modeldb_core.backends.blobs.content import blob_path
from modeldb_core.backends.blobs.s3 import S3ArtifactStore
from modeldb_core.backends.blobs.store import FsspecArtifactStore
from modeldb_core.errors import (
    ConfigurationError,
    IntegrityError,
    PermissionDeniedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from modeldb_core.plugins import open_artifacts
from modeldb_core.testing import ArtifactStoreTests
from tests.services.proxy import Proxy
from tests.services.s3 import SeaweedFS
from tests.waiting import wait_until

MIB = 1 << 20
SMALL_PARTS = {"part_mib": 5}


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.new_bucket()


@pytest.fixture(scope="module")
def weak_bucket(weak_s3):
    return weak_s3.new_bucket()


@pytest.fixture
def prefix():
    return os.urandom(4).hex()


@pytest.fixture
def client(s3):
    client = s3.client()
    yield client
    client.close()


@pytest.fixture
def store(s3, bucket, prefix):
    store = S3ArtifactStore(f"s3://{bucket}/{prefix}", **s3.options, **SMALL_PARTS)
    yield store
    store.close()


def test_a_bucket_that_wants_to_be_left_alone_says_for_how_long():
    class Busy(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503)
            self.send_header("Retry-After", "90")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_PUT

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        options = {
            "endpoint_url": f"http://127.0.0.1:{server.server_port}",
            "key": "k",
            "secret": "s",
            "max_attempts": 1,
        }
        with pytest.raises(StoreUnavailableError) as caught:
            S3ArtifactStore("s3://busy/prefix", **options)._bucket.call("put_object", "write", "key", Body=b"x")
        server.shutdown()
    assert caught.value.retry_after_s == 90.0


def overwrite(server, store, digest, content):
    name, _, prefix = store.url.removeprefix("s3://").partition("/")
    client = server.client()
    client.put_object(Bucket=name, Key=f"{prefix}/{blob_path(digest)}", Body=content)
    client.close()


class TestS3(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, s3, bucket, prefix):
        self.server = s3
        return lambda: S3ArtifactStore(f"s3://{bucket}/{prefix}", **s3.options)

    def damage(self, store, digest, content):
        overwrite(self.server, store, digest, content)


class TestWeakS3(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, weak_s3, weak_bucket, prefix):
        self.server = weak_s3
        return lambda: S3ArtifactStore(f"s3://{weak_bucket}/{prefix}", **weak_s3.options)

    def damage(self, store, digest, content):
        overwrite(self.server, store, digest, content)


class TestS3ByFsspec(ArtifactStoreTests):
    """The way of every object store that has none of its own."""

    @pytest.fixture
    def make_artifacts(self, s3, bucket, prefix):
        self.server = s3
        return lambda: FsspecArtifactStore(f"s3://{bucket}/{prefix}", **s3.options)

    def damage(self, store, digest, content):
        overwrite(self.server, store, digest, content)


# -- how a blob gets there --------------------------------------------------------------------------------------------


class Counting(S3ArtifactStore):
    """Notes the requests of each kind and the bytes that they carry."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.requests = []
        self.sent_bytes = 0
        call = self._bucket.call

        def counted(operation, doing, key=None, **arguments):
            self.requests.append(operation)
            self.sent_bytes += len(arguments.get("Body", b""))
            return call(operation, doing, key, **arguments)

        self._bucket.call = counted


@pytest.fixture
def counting(s3, bucket, prefix):
    store = Counting(f"s3://{bucket}/{prefix}", **s3.options, **SMALL_PARTS)
    yield store
    store.close()


def keys_of(client, bucket, prefix):
    found = client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", [])
    return [item["Key"].removeprefix(f"{prefix}/") for item in found], [item["UploadId"] for item in uploads]


def test_urls_with_options_open_it(s3, bucket):
    store = open_artifacts(f"s3://{bucket}/a/b?part_mib=8&region=eu-north-1")
    assert isinstance(store, S3ArtifactStore)
    assert not store.is_local
    assert store.url == f"s3://{bucket}/a/b"


def test_a_bucket_needs_no_prefix(s3):
    name = s3.new_bucket()
    store = S3ArtifactStore(f"s3://{name}", **s3.options)
    info = store.put(io.BytesIO(b"x"))
    assert list(store.list()) == [info]
    assert keys_of(s3.client(), name, info.digest[:2])[0] == [info.digest]


def test_each_byte_is_sent_once_and_what_is_there_not_at_all(counting):
    content = os.urandom(12 * MIB)
    info = counting.put(io.BytesIO(content))
    assert counting.sent_bytes == len(content)
    assert counting.requests.count("upload_part") == 3
    counting.requests.clear()
    for digest in (None, info.digest):
        counting.put(io.BytesIO(content), digest=digest)
        with os.fdopen(_pipe(content), "rb") as stream:
            counting.put(stream, digest=digest)
    assert set(counting.requests) == {"head_object"}
    assert counting.sent_bytes == len(content)


def _pipe(content):
    """Return the end of a pipe from which ``content`` comes."""
    reading, writing = os.pipe()

    def write():
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return reading


def test_a_pipe_is_put_by_way_of_a_file_that_is_gone_afterwards(s3, bucket, prefix, tmp_path):
    store = S3ArtifactStore(f"s3://{bucket}/{prefix}", cache_dir=tmp_path / "cache", **s3.options, **SMALL_PARTS)
    content = os.urandom(11 * MIB)
    with os.fdopen(_pipe(content), "rb") as stream:
        info = store.put(stream)
    assert store.open(info.digest).read() == content
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_small_blob_takes_two_requests(counting):
    counting.put(io.BytesIO(os.urandom(100_000)))
    assert counting.requests == ["head_object", "put_object"]


@pytest.mark.parametrize(
    ("size", "expected"), [(1, 16 * MIB), (156 << 30, 16 * MIB), (10**12, 96 * MIB), (5 * 10**12, 477 * MIB)]
)
def test_no_blob_takes_more_parts_than_s3_allows(size, expected):
    assert multipart.part_size(size, 16 * MIB) == expected
    assert size <= expected * multipart.MAX_PARTS


def test_other_content_than_was_said_leaves_nothing(store, client, bucket, prefix):
    content = os.urandom(11 * MIB)
    with pytest.raises(IntegrityError):
        store.put(io.BytesIO(content), digest="0" * 64)
    assert keys_of(client, bucket, prefix) == ([], [])


def test_a_file_that_changes_while_it_is_sent_is_refused(store, client, bucket, prefix):
    class Changing(io.BytesIO):
        passes = 0

        def seek(self, offset, whence=io.SEEK_SET):
            if (offset, whence) == (0, io.SEEK_SET):
                self.passes += 1
                if self.passes > 2:  # measured, hashed, and now sent
                    self.getbuffer()[7 * MIB] ^= 1
            return super().seek(offset, whence)

    with pytest.raises(IntegrityError, match="nothing is stored"):
        store.put(Changing(os.urandom(11 * MIB)))
    assert keys_of(client, bucket, prefix) == ([], [])


# -- taken up again ---------------------------------------------------------------------------------------------------


def begin_upload(client, bucket, prefix, parts, digest):
    """Upload parts as a process that died afterwards had."""
    key = f"{prefix}/{blob_path(digest)}"
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
    for number, part in parts.items():
        checksum = base64.b64encode(hashlib.sha256(part).digest()).decode()
        place = {"Bucket": bucket, "Key": key, "UploadId": upload_id, "PartNumber": number}
        client.upload_part(**place, Body=part, ChecksumSHA256=checksum)
    return upload_id


def test_parts_that_are_there_are_not_sent_again_unless_they_differ(counting, client, bucket, prefix):
    content = os.urandom(22 * MIB)
    digest = hashlib.sha256(content).hexdigest()
    good, bad = content[: 5 * MIB], os.urandom(5 * MIB)
    short = content[15 * MIB : 15 * MIB + 100]
    begin_upload(client, bucket, prefix, {1: good, 2: bad, 4: short}, digest)
    counting.put(io.BytesIO(content), digest=digest)
    assert counting.sent_bytes == len(content) - len(good)
    assert keys_of(client, bucket, prefix) == ([blob_path(digest)], [])
    assert counting.open(digest).read() == content


@pytest.mark.parametrize("how", ["abort", "complete", "overwrite"])
def test_an_upload_that_somebody_else_ends_or_spoils_meanwhile_succeeds(s3, store, client, bucket, prefix, how):
    content = os.urandom(41 * MIB)
    digest = hashlib.sha256(content).hexdigest()
    key = f"{prefix}/{blob_path(digest)}"

    def interfere():
        (upload,) = client.list_multipart_uploads(Bucket=bucket, Prefix=key)["Uploads"]
        place = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
        if how == "complete":
            S3ArtifactStore(store.url, **s3.options, **SMALL_PARTS).put(io.BytesIO(content), digest=digest)
        elif how == "abort":
            client.abort_multipart_upload(**place)
        else:
            wait_until(lambda: client.list_parts(**place).get("Parts"))
            part = os.urandom(5 * MIB)
            checksum = base64.b64encode(hashlib.sha256(part).digest()).decode()
            client.upload_part(**place, PartNumber=1, Body=part, ChecksumSHA256=checksum)

    class Interrupted(io.BytesIO):
        is_done = False

        def read(self, size=-1):
            if self.tell() == 40 * MIB and not self.is_done:
                self.is_done = True
                interfere()
            return super().read(size)

    store.put(Interrupted(content), digest=digest)
    assert store.open(digest).read() == content


def test_the_same_content_from_many_threads_and_handles_is_one_blob(s3, bucket, prefix):
    content = os.urandom(12 * MIB)
    start = threading.Barrier(4)

    def put(_):
        store = S3ArtifactStore(f"s3://{bucket}/{prefix}", **s3.options, **SMALL_PARTS)
        start.wait()
        return store.put(io.BytesIO(content))

    with ThreadPoolExecutor(4) as pool:
        (info,) = set(pool.map(put, range(4)))
    store = S3ArtifactStore(f"s3://{bucket}/{prefix}", **s3.options)
    assert list(store.list()) == [info]
    assert store.open(info.digest).read() == content


def test_uploads_that_nobody_went_on_with_for_a_day_are_aborted(store, client, bucket, prefix, monkeypatch):
    old = begin_upload(client, bucket, prefix, {1: b"x"}, "0" * 64)
    store._sweep()
    assert keys_of(client, bucket, prefix)[1] == [old]
    monkeypatch.setattr(multipart, "ABANDONED", -datetime.timedelta(hours=1))  # as if it were tomorrow
    store._is_swept = False
    store._sweep()
    assert keys_of(client, bucket, prefix)[1] == []


UPLOAD = """
import os, sys, time
from modeldb_core.backends.blobs.s3 import S3ArtifactStore

class Slow:
    # Reads as a file does, and lets the test see how far it has come.
    def __init__(self, path):
        self.file = open(path, "rb")
    def read(self, size):
        data = self.file.read(size)
        print(self.file.tell(), flush=True)
        return data
    def __getattr__(self, name):
        return getattr(self.file, name)

store = S3ArtifactStore(sys.argv[1], part_mib=5, parallel=2)
store.put(Slow(sys.argv[2]), digest=sys.argv[3])
"""


@pytest.mark.parametrize("mib", [100, pytest.param(1024, marks=pytest.mark.slow)])
def test_an_upload_that_was_killed_half_way_is_resumed_by_the_next_process(
    counting, s3, bucket, prefix, client, tmp_path, mib
):
    if mib > 100 and not os.environ.get("MODELDB_TEST_FUZZ"):
        pytest.skip("a gibibyte is sent by `tox -e fuzz`")
    path = tmp_path / "large"
    sha = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mib):
            piece = os.urandom(MIB)
            sha.update(piece)
            file.write(piece)
    digest = sha.hexdigest()
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, counting.url, str(path), digest],
        env={**os.environ, **s3.environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if int(line) >= mib * MIB // 2:
            break
    process.kill()
    process.communicate()
    assert keys_of(client, bucket, prefix)[0] == []
    with path.open("rb") as file:
        counting.put(file, digest=digest)
    assert 0 < counting.sent_bytes <= 0.65 * mib * MIB, "half of it, and what was on its way, is sent again"
    with counting.open(digest) as stream:
        assert hashlib.file_digest(stream, "sha256").hexdigest() == digest
    counting.delete(digest)


# -- a store and a network that fail ----------------------------------------------------------------------------------


@pytest.fixture
def proxy(s3):
    proxy = Proxy(s3.port)
    yield proxy
    proxy.close()


def through(proxy, s3, bucket, prefix, **options):
    given = {**s3.options, "endpoint_url": f"http://127.0.0.1:{proxy.port}", **SMALL_PARTS}
    given |= {"read_timeout_s": 1.0, "connect_timeout_s": 1.0, "max_attempts": 2, **options}
    return S3ArtifactStore(f"s3://{bucket}/{prefix}", **given)


def test_a_network_that_hangs_is_an_error_in_a_sentence_and_the_upload_goes_on_later(proxy, s3, bucket, prefix):
    store = through(proxy, s3, bucket, prefix)
    content = os.urandom(12 * MIB)

    class Source(io.BytesIO):
        def read(self, size=-1):
            if self.tell() >= 5 * MIB:
                proxy.mode = "hang"
            return super().read(size)

    with pytest.raises(StoreUnavailableError, match=r"does not answer in time|connection broke"):
        store.put(Source(content), digest=hashlib.sha256(content).hexdigest())
    proxy.mode = "pass"
    info = store.put(io.BytesIO(content))
    assert store.open(info.digest).read() == content


def test_a_network_that_cuts_bodies_is_survived_or_an_error_in_a_sentence(proxy, s3, bucket, prefix):
    store = through(proxy, s3, bucket, prefix, max_attempts=3)
    content = os.urandom(12 * MIB)
    info = store.put(io.BytesIO(content))
    proxy.mode, proxy.cut_after = "cut", 300_000
    with pytest.raises(StoreUnavailableError) as caught:
        store.open(info.digest).read()
    assert str(caught.value).startswith(store.url)
    with pytest.raises(StoreUnavailableError):
        store.put(io.BytesIO(os.urandom(6 * MIB)))
    assert proxy.cuts > 3
    with store.open(info.digest) if proxy.mode == "pass" else _healing(proxy, store, info.digest) as stream:
        assert stream.read() == content


def _healing(proxy, store, digest):
    """Open a blob such that only its second body is cut."""
    proxy.mode = "pass"
    stream = store.open(digest)
    proxy.mode = "cut"
    threading.Timer(0.3, lambda: setattr(proxy, "mode", "pass")).start()
    return stream


def test_a_server_killed_in_the_middle_of_an_upload_and_started_again_has_it_resumed(prefix):
    server = SeaweedFS()
    try:
        bucket = server.new_bucket()
        store = Counting(f"s3://{bucket}/{prefix}", **server.options, **SMALL_PARTS, max_attempts=1)
        content = os.urandom(31 * MIB)
        digest = hashlib.sha256(content).hexdigest()

        class Source(io.BytesIO):
            def read(self, size=-1):
                if self.tell() == 20 * MIB:
                    wait_until(lambda: _arrived(store) >= 2)
                    server.kill()
                return super().read(size)

        with pytest.raises(StoreUnavailableError, match=r"cannot be reached|broke"):
            store.put(Source(content), digest=digest)
        server.start()
        store.sent_bytes = 0
        wait_until(lambda: _put(store, content))
        assert store.sent_bytes <= len(content) - 2 * 5 * MIB
        assert store.open(digest).read() == content
    finally:
        server.stop()


def _arrived(store):
    (upload,) = multipart._uploads(store._bucket, "")
    return len(list(store._bucket.pages("list_parts", "Parts", Key=upload["Key"], UploadId=upload["UploadId"])))


def _put(store, content):
    try:
        store.put(io.BytesIO(content), digest=hashlib.sha256(content).hexdigest())
    except StoreUnavailableError:  # it answers a little earlier than it can write
        store.sent_bytes = 0
        return False
    return True


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"secret": "hunter2-wrong"}, PermissionDeniedError, "credentials are wrong"),
        ({"key": "nobody", "secret": "hunter2-wrong"}, PermissionDeniedError, "credentials are wrong"),
        ({"key": "reader-key", "secret": "reader-secret"}, StoreReadOnlyError, "may not write"),
    ],
)
@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_wrong_credentials_are_errors_in_a_sentence(s3, bucket, prefix, change, kind, words, size):
    store = S3ArtifactStore(f"s3://{bucket}/{prefix}", **{**s3.options, **change}, **SMALL_PARTS)
    with pytest.raises(kind, match=words) as caught:
        store.put(io.BytesIO(os.urandom(size)))
    assert store.url in str(caught.value)
    assert change["secret"] not in str(caught.value)
    if kind is PermissionDeniedError:
        for action in (store.stat, store.open):
            with pytest.raises(PermissionDeniedError, match=words):
                action("0" * 64)


def test_a_clock_that_is_wrong_is_an_error_in_a_sentence(store, monkeypatch):
    import botocore.auth

    now = botocore.auth.get_current_datetime
    two_hours = datetime.timedelta(hours=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args, **kwargs: now(*args, **kwargs) - two_hours)
    for action in (lambda: store.put(io.BytesIO(b"x")), lambda: store.stat("0" * 64), lambda: store.open("0" * 64)):
        with pytest.raises(StoreUnavailableError, match=r"clock of this machine.*set it right"):
            action()


def test_a_missing_bucket_is_an_error_in_a_sentence(weak_s3, prefix):
    store = S3ArtifactStore(f"s3://nowhere/{prefix}", **weak_s3.options)
    for action in (lambda: store.put(io.BytesIO(b"x")), lambda: list(store.list()), lambda: store.open("0" * 64)):
        with pytest.raises(ConfigurationError, match=r"bucket 'nowhere' does not exist.*create it"):
            action()


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("s3://", {}, "does not name a bucket"),
        ("s3://b?part_mib=1", {}, "expected 5 to"),
        ("s3://b?part_mb=8", {}, "did you mean 'part_mib'"),
        ("s3://b", {"parallel": 0}, "expected 1 to 64"),
        ("s3://b?secret=hunter2", {}, "key and secret"),
    ],
)
def test_options_that_cannot_be_are_errors_in_a_sentence(url, options, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        S3ArtifactStore(url, **options)
    assert "hunter2" not in str(caught.value)


def test_no_room_for_what_can_be_read_only_once_is_an_error_in_a_sentence(s3, bucket, prefix, tmp_path):
    (tmp_path / "file").touch()
    store = S3ArtifactStore(f"s3://{bucket}/{prefix}", cache_dir=tmp_path / "file", **s3.options, **SMALL_PARTS)
    with (
        pytest.raises(StoreUnavailableError, match="no temporary file"),
        os.fdopen(_pipe(bytes(6 * MIB)), "rb") as file,
    ):
        store.put(file)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_little_of_a_large_blob_takes_little(counting):
    info = counting.put(io.BytesIO(os.urandom(12 * MIB)))
    counting.requests.clear()
    with counting.open(info.digest) as stream:
        stream.read(1000)
    assert counting.requests == ["get_object"]


def test_a_large_blob_is_read_ahead_in_few_requests(counting):
    content = os.urandom(60 * MIB)
    info = counting.put(io.BytesIO(content))
    counting.requests.clear()
    with counting.open(info.digest) as stream:
        assert stream.read() == content
    assert len(counting.requests) <= 10


def test_an_altered_blob_is_refused_and_named(s3, store):
    content = os.urandom(12 * MIB)
    info = store.put(io.BytesIO(content))
    overwrite(s3, store, info.digest, content[:-1] + bytes([content[-1] ^ 1]))
    with store.open(info.digest) as stream, pytest.raises(IntegrityError, match=info.digest):
        stream.read()


def test_anybody_can_download_from_a_presigned_url_and_no_browser_shows_it(store):
    content = b"<script>alert(1)</script>"
    info = store.put(io.BytesIO(content))
    with urllib.request.urlopen(store.url_for(info.digest, expires_s=60)) as response:
        assert response.read() == content
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment")


def test_a_presigned_url_holds_no_secret_and_expires(s3, store):
    info = store.put(io.BytesIO(b"content"))
    url = store.url_for(info.digest, expires_s=10**9)
    assert s3.options["secret"] not in url
    assert "X-Amz-Expires=604800" in url
    short = store.url_for(info.digest, expires_s=1)
    wait_until(lambda: _is_refused(short))


def _is_refused(url):
    try:
        with urllib.request.urlopen(url):
            return False
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 403


# -- age --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["s3", "weak_s3"])
@pytest.mark.parametrize("size", [100, 12 * MIB])
def test_an_old_blob_that_is_put_again_is_copied_onto_itself(request, prefix, monkeypatch, which, size):
    server = request.getfixturevalue(which)
    bucket = request.getfixturevalue("bucket" if which == "s3" else "weak_bucket")
    store = Counting(f"s3://{bucket}/{prefix}", **server.options, **SMALL_PARTS)
    content = os.urandom(size)
    info = store.put(io.BytesIO(content))
    before = store.stat(info.digest).modified_at
    store.sent_bytes = 0
    monkeypatch.setattr("modeldb_core.backends.blobs.s3.REFRESH_S", -10.0)  # whatever is there is old

    def is_young_again():
        store.put(io.BytesIO(content))
        return store.stat(info.digest).modified_at > before

    wait_until(is_young_again)
    if which == "s3":
        assert store.sent_bytes == 0
    assert store.open(info.digest).read() == content


def test_a_blob_too_large_for_one_copy_is_copied_in_parts(store, monkeypatch):
    content = os.urandom(12 * MIB)
    info = store.put(io.BytesIO(content))
    monkeypatch.setattr("modeldb_core.backends.blobs.s3._MAX_COPY_BYTES", MIB)
    monkeypatch.setattr("modeldb_core.backends.blobs.s3._COPY_BYTES", 5 * MIB)
    assert store._refresh(info)
    assert store.open(info.digest).read() == content


# -- memory and processes ---------------------------------------------------------------------------------------------

PEAK = """
import io, resource, sys, threading
from modeldb_core.backends.blobs.s3 import S3ArtifactStore

class Zeros(io.RawIOBase):
    # A file of that size that nobody has to write first; each differs in its first byte.
    def __init__(self, mib, mark):
        self.size, self.at, self.mark = mib << 20, 0, mark
    def readable(self): return True
    def seekable(self): return True
    def tell(self): return self.at
    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at
    def readinto(self, buffer):
        count = min(len(buffer), self.size - self.at)
        buffer[:count] = bytes(count)
        if self.at == 0 and count:
            buffer[0] = self.mark
        self.at += count
        return count

store = S3ArtifactStore(sys.argv[1], part_mib=8, memory_mib=32)
store.put(io.BytesIO(b"warm"))
with store.open(store.put(Zeros(9, 1)).digest) as stream:
    stream.read(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threads = [threading.Thread(target=store.put, args=(Zeros(64, mark),)) for mark in range(2, 5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with store.open(store.put(Zeros(64, 2)).digest) as stream:
    while stream.read(1 << 20):
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded_however_many_large_files_are_sent_and_read(s3, bucket, prefix):
    command = [sys.executable, "-c", PEAK, f"s3://{bucket}/{prefix}"]
    done = subprocess.run(command, env={**os.environ, **s3.environment}, capture_output=True, text=True, check=True)
    # 32 MiB of parts, as much of blocks that are read ahead, and what the allocator does not give back at once.
    assert int(done.stdout) < 120, "256 MiB went through it"


def test_a_forked_child_uses_connections_of_its_own(s3, bucket, prefix):
    script = f"""
import io, os
from modeldb_core.backends.blobs.s3 import S3ArtifactStore
store = S3ArtifactStore("s3://{bucket}/{prefix}", part_mib=5)
store.put(io.BytesIO(os.urandom(6 << 20)))
child = os.fork()
info = store.put(io.BytesIO(os.urandom(6 << 20)))
store.open(info.digest).read()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.open(info.digest).read()
"""
    environment = {**os.environ, **s3.environment}
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment, check=True, timeout=240)
