"""A client on a real SQLite store, and autologging that is off again after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.model.entities import Run
from modeldb_sklearn import autolog


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """Return a client whose store, artifacts and journal lie below ``tmp_path``."""
    with modeldb.connect(
        f"sqlite:///{tmp_path}/modeldb.db",
        artifact_url=f"file://{tmp_path}/artifacts",
        journal_dir=str(tmp_path / "journals"),
        flush_interval_s=0.02,
        capture_enabled=False,
    ) as connected:
        yield connected
        autolog(disable=True)


@pytest.fixture
def runs(client: Any) -> Any:
    """Return a function that reads all runs, oldest first; ``top`` only those that are not part of another one."""

    def read(*, top: bool = False) -> list[Run]:
        assert client.flush(100)
        found = [run.entity for run in client.search_runs(limit=1000, order_by="created_at")]
        return [run for run in found if run.parent_id is None] if top else found

    return read
