"""Models to register, in a store of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.tracking import Client


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Put the settings of a store below ``tmp_path`` into the environment; returns them."""
    variables = {
        "MODELDB_URL": f"sqlite:///{tmp_path}/modeldb.db",
        "MODELDB_ARTIFACT_URL": f"file://{tmp_path}/artifacts",
        "MODELDB_JOURNAL_DIR": str(tmp_path / "journals"),
        "MODELDB_FLUSH_INTERVAL_S": "0.05",
        "MODELDB_EXIT_TIMEOUT_S": "240",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Client]:
    """Return a connected client."""
    with modeldb.connect(user="ada") as connected:
        yield connected
