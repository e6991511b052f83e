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


def test_of_points_of_one_time_the_first_that_came_is_first_and_the_last_is_last():
    writer = StreamWriter()
    run_id = writer.create_run().entity_id
    writer.append(run_id, {"loss": [3.0, 1.0, 2.0]}, steps=[1, 2, 3], times=[5, 5, 5])
    store = MemoryStore()
    store.apply(writer.changes)
    summary = store.get("run", run_id).series["loss"]
    assert (summary.first, summary.last, summary.first_step, summary.last_step) == (3.0, 2.0, 1, 3)
