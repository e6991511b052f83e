from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import modeldb_core as modeldb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modeldb_core import Client
    from modeldb_core.tracking.repositories.repository import RepositoryHandle


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    settings = {"journal_dir": tmp_path / "journal", "cache_dir": tmp_path / "cache"}
    with modeldb.connect(
        f"sqlite:///{tmp_path}/store.db", artifact_url=f"file://{tmp_path}/files", **settings
    ) as found:
        yield found


@pytest.fixture
def repository(client: Client) -> RepositoryHandle:
    return client.repository("churn")
