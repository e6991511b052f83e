"""The SQLite store passes the suite, and keeps what it promises about files, processes and locks."""

from __future__ import annotations

import pytest

from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.testing import MetadataStoreTests


class TestSQLiteStore(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: SQLiteStore(f"sqlite:///{tmp_path}/modeldb.db")
