"""Every way a file can go: client to folder, bucket, and servers over a folder, a bucket and another server."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import ExitStack, closing

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.blobs.content import blob_path
from modeldb_core.backends.blobs.s3 import S3ArtifactStore
from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.movement.blobs import BlobCopier
from modeldb_core.plugins import open_store
from modeldb_core.stores import BlobInfo, protocol
from modeldb_core.testing import ArtifactStoreTests
from tests.services.server import serving

MIB = 1 << 20
S3_PART = 5 * MIB
READ_AHEAD = 8 * MIB
LIMITS = (0, 1, S3_PART, S3_PART + 1, protocol.PART_BYTES, protocol.PART_BYTES + 1, READ_AHEAD + 1)
KINDS = ("folder", "bucket", "server over a folder", "server over a bucket", "server over a server")
CONTENT = os.urandom(max(LIMITS))
OWN_LIMITS = {"bucket": (S3_PART, S3_PART + 1), "server over a folder": (protocol.PART_BYTES, protocol.PART_BYTES + 1)}
"""The sizes at which a kind begins to cut. Every run tries these, nothing at all, and the largest, which everybody cuts."""


def is_usual(kind, size):
    return size in (min(LIMITS), max(LIMITS), *OWN_LIMITS.get(kind, ()))


def unless(usual, *values):
    return pytest.param(*values, marks=[] if usual else pytest.mark.thorough)


class Places:
    """Opens stores of every kind; what serves them is ended with the test module."""

    def __init__(self, stack, folder, s3):
        self._stack, self.folder, self._s3, self._bucket = stack, folder, s3, s3.new_bucket()
        self._count = 0

    def new(self, kind):
        """Return a function that opens a new store of the kind, and where its bytes are."""
        self._count += 1
        name = f"{self._count}"
        if kind == "folder":
            return lambda: FsspecArtifactStore(f"file://{self.folder}/{name}")
        if kind == "bucket":
            url, options = f"s3://{self._bucket}/{name}", {**self._s3.options, "part_mib": S3_PART // MIB}
            return lambda: S3ArtifactStore(url, **options)
        behind = {"a server": "server over a folder"}.get(kind.partition(" over ")[2], kind.rpartition(" ")[2])
        store = self._stack.enter_context(open_store(f"sqlite:///{self.folder}/{name}.db"))
        url = self._stack.enter_context(serving(store, self._stack.enter_context(closing(self.new(behind)()))))
        return lambda: RemoteArtifactStore(url)


@pytest.fixture(scope="module")
def places(s3, tmp_path_factory):
    with ExitStack() as stack:
        yield Places(stack, tmp_path_factory.mktemp("places"), s3)


@pytest.fixture(scope="module")
def stores(places):
    """One store of each kind."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(closing(places.new(kind)())) for kind in KINDS}


class OnceOnly(io.RawIOBase):
    """A stream that cannot go back, as a pipe."""

    def __init__(self, content):
        self._file = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[:300_000])


class NoEnd(io.BytesIO):
    """A stream that can go back and does not know its end, such as one that is unpacked while it is read."""

    def seek(self, offset, whence=io.SEEK_SET):
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end is not known")
        return super().seek(offset, whence)


@pytest.mark.parametrize(
    ("size", "kind"), [unless(is_usual(kind, size), size, kind) for size in LIMITS for kind in KINDS]
)
def test_a_file_of_any_size_comes_back_from_every_store(stores, kind, size):
    content = CONTENT[len(CONTENT) - size :]
    digest = hashlib.sha256(content).hexdigest()
    store = stores[kind]
    for make, claimed in ((io.BytesIO, digest), (OnceOnly, None)):
        assert store.put(make(content), digest=claimed) == BlobInfo(digest, size)
        assert store.stat(digest).size_bytes == size
        with store.open(digest) as stream:
            assert stream.read() == content
        store.delete(digest)
    assert list(store.list()) == [], "neither parts nor anything else stay behind"


# A copy reads from the one and writes to the other: each is read from and written to in every run.
@pytest.mark.parametrize(
    ("source", "target"),
    [unless("folder" in (source, target) or source == target, source, target) for source in KINDS for target in KINDS],
)
def test_files_are_copied_between_any_two_stores(places, stores, source, target):
    contents = [os.urandom(8) + CONTENT[:size] for size in (0, protocol.PART_BYTES)]
    infos = [stores[source].put(io.BytesIO(content)) for content in contents]
    there = places.new(target)()
    copier = BlobCopier(stores[source], there)
    with closing(there):
        copier.copy([info.digest for info in infos])
        assert (copier.copied, copier.missing, copier.damaged) == (2, set(), {})
        assert sorted(there.list(), key=str) == sorted(infos, key=str)
        for info, content in zip(infos, contents, strict=True):
            with there.open(info.digest) as stream:
                assert stream.read() == content
    for info in infos:
        stores[source].delete(info.digest)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claims", [False, True])
def test_a_stream_that_does_not_know_its_end_is_stored(stores, kind, claims):
    content = CONTENT[: S3_PART + 1]
    info = BlobInfo(hashlib.sha256(content).hexdigest(), len(content))
    assert stores[kind].put(NoEnd(content), digest=info.digest if claims else None) == info
    stores[kind].delete(info.digest)


class Member:
    """What can be read and says nothing of going back, as a member of a tar file that is read as it arrives."""

    def __init__(self, content):
        self._file = io.BytesIO(content)

    def read(self, size=-1):
        return self._file.read(size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, protocol.PART_BYTES + 1])
def test_a_stream_that_does_not_say_whether_it_can_go_back_is_stored(stores, kind, size):
    content = CONTENT[:size]
    info = BlobInfo(hashlib.sha256(content).hexdigest(), size)
    for claimed in (None, info.digest, info.digest):  # the second one is there already
        assert stores[kind].put(Member(content), digest=claimed) == info
    stores[kind].delete(info.digest)


@pytest.fixture(scope="module")
def served(places):
    """Functions that open a store on a server: all tests of the suites share it, since starting one takes time."""
    return {kind: places.new(kind) for kind in KINDS if " over " in kind}


@pytest.mark.thorough
class TestServerOverBucket(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, served):
        return served["server over a bucket"]


@pytest.mark.thorough
class TestServerOverServer(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, served, places):
        self.places = places
        return served["server over a server"]

    def damage(self, store, digest, content):
        (path,) = self.places.folder.rglob(f"*/{blob_path(digest)}")
        path.chmod(0o600)
        path.write_bytes(content)
