"""The reference store passes the suite."""

from __future__ import annotations

import pytest

from modeldb_core.backends.memory import MemoryStore
from modeldb_core.plugins import open_store
from modeldb_core.testing import MetadataStoreTests, StreamWriter


class TestMemoryStore(MetadataStoreTests):
    is_shared = False

    @pytest.fixture
    def make_store(self):
        return MemoryStore


def test_memory_urls_open_it():
    with open_store("memory://") as store:
        assert isinstance(store, MemoryStore)
        assert store.url == "memory://"


def test_two_stores_share_nothing():
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    first, second = MemoryStore(), MemoryStore()
    first.apply(writer.changes)
    assert first.get("run", run_id).entity_id == run_id
    assert second.heads() == {}
