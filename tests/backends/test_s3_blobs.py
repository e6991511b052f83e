"""Blobs in a bucket: the suite on real servers, and what only a bucket has."""

from __future__ import annotations

import os

import pytest

from modeldb_core.backends.blobs.content import blob_path
from modeldb_core.backends.blobs.s3 import S3ArtifactStore
from modeldb_core.backends.blobs.store import FsspecArtifactStore
from modeldb_core.testing import ArtifactStoreTests

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
