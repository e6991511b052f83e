"""The stores answer like the reference, whatever happens to them."""

from __future__ import annotations

import shutil
import tempfile

from hypothesis import HealthCheck, settings

from modeldb_core.audit import verify
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.plugins import open_store
from modeldb_core.testing.machine import StoreMachine

SETTINGS = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class MemoryMachine(StoreMachine):
    """The reference against itself: the machine's own questions and batches must be sound."""

    def make_store(self):
        return MemoryStore()


class SQLiteMachine(StoreMachine):
    def make_store(self):
        self.folder = tempfile.mkdtemp(prefix="modeldb-machine-")
        return open_store(f"sqlite:///{self.folder}/modeldb.db")

    def teardown(self):
        try:
            super().teardown()
            if hasattr(self, "folder"):
                with open_store(f"sqlite:///{self.folder}/modeldb.db") as store:
                    assert verify(store).findings == []
        finally:
            shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)


class TestMemory(MemoryMachine.TestCase):
    settings = SETTINGS


class TestSQLite(SQLiteMachine.TestCase):
    settings = SETTINGS
