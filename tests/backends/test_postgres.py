"""The PostgreSQL store passes the suite, and keeps what it promises about servers, processes and locks."""

from __future__ import annotations

import pytest

from modeldb_core.backends.postgres import PostgresStore
from modeldb_core.testing import MetadataStoreTests


class TestPostgresStore(MetadataStoreTests):
    @pytest.fixture
    def make_store(self, postgres_url):
        return lambda: PostgresStore(postgres_url)
