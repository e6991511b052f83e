"""The stores on a server pass the suites, and keep what they promise about outages, tokens, forks and errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldb_core.backends.remote.artifacts import RemoteArtifactStore
from modeldb_core.backends.remote.metadata import RemoteMetadataStore
from modeldb_core.testing import ArtifactStoreTests, MetadataStoreTests
from tests.services.server import serving_folder


@pytest.fixture
def url(tmp_path):
    with serving_folder(tmp_path) as url:
        yield url


class TestRemoteMetadataStore(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, url):
        return lambda: RemoteMetadataStore(url)


class TestRemoteArtifactStore(ArtifactStoreTests):
    @pytest.fixture
    def make_artifacts(self, url, tmp_path):
        self.folder = tmp_path
        return lambda: RemoteArtifactStore(url)

    def damage(self, store, digest, content):
        (path,) = Path(self.folder).rglob(digest)
        path.chmod(0o600)
        path.write_bytes(content)
