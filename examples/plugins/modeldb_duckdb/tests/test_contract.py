"""The store keeps the contract of every metadata store."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeldb_core.plugins import load_settings, open_store
from modeldb_core.testing import MetadataStoreTests


class TestDuckDB(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, tmp_path: Path):
        return lambda: open_store(f"duckdb:///{tmp_path}/modeldb.duckdb")

    @pytest.fixture
    def process_url(self, tmp_path: Path) -> str:
        return f"duckdb:///{tmp_path}/modeldb.duckdb"


def test_its_tables_are_those_that_the_code_expects(tmp_path: Path) -> None:
    with open_store(f"duckdb:///{tmp_path}/modeldb.duckdb") as store:
        assert list(store.audit_schema()) == []


def test_it_is_a_file_with_relative_paths_and_a_folder_beside_it(tmp_path: Path) -> None:
    (tmp_path / "modeldb.toml").write_text('url = "duckdb:///runs.duckdb"\n')
    settings = load_settings(directory=tmp_path)
    assert settings.url == f"duckdb:///{tmp_path}/runs.duckdb"
    assert settings.artifact_url == f"file://{tmp_path}/runs.duckdb.artifacts"
