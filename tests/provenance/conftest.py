"""A client on a SQLite store and a folder, with a journal of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.tracking import Client


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a connected client, which the functions of ``modeldb_core`` use too."""
    monkeypatch.setenv("MODELDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with modeldb.connect(
        url=f"sqlite:///{tmp_path}/modeldb.db", journal_dir=str(tmp_path / "journals"), capture_enabled=False
    ) as connected:
        yield connected
