"""The store keeps the contract of every metadata store."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldb_core.plugins import open_store
from modeldb_core.testing import MetadataStoreTests


class TestDuckDB(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, tmp_path: Path):
        return lambda: open_store(f"duckdb:///{tmp_path}/modeldb.duckdb")

    @pytest.fixture
    def process_url(self, tmp_path: Path) -> str:
        return f"duckdb:///{tmp_path}/modeldb.duckdb"
