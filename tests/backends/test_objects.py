"""The store in a bucket: it passes the suite on a folder and on real S3."""

from __future__ import annotations

import pytest

from modeldb_core.backends.objects import FolderStore, S3Store
from modeldb_core.testing import MetadataStoreTests


class TestFolderStore(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: FolderStore(f"file://{tmp_path}/bucket", cache_dir=tmp_path / "cache", max_staleness_s=0)


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.new_bucket()


class TestS3Store(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, s3, bucket, tmp_path):
        return lambda: S3Store(
            f"s3://{bucket}/{tmp_path.name}", cache_dir=tmp_path / "cache", max_staleness_s=0, **s3.options
        )
