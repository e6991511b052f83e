"""A client on a SQLite store and a folder, with a journal of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import modeldb_core as modeldb
from modeldb_core.tracking import Client


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Return what a client needs to know to work below ``tmp_path`` only."""
    return {
        "url": f"sqlite:///{tmp_path}/store/modeldb.db",
        "artifact_url": f"file://{tmp_path}/store/artifacts",
        "journal_dir": str(tmp_path / "journals"),
        "flush_interval_s": "0.05",
    }


@pytest.fixture
def environment(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Put the settings into the environment, for programs started by a test; returns it."""
    (tmp_path / "store").mkdir(exist_ok=True)
    variables = {f"MODELDB_{name.upper()}": value for name, value in settings.items()}
    variables["MODELDB_EXIT_TIMEOUT_S"] = "240"  # the machine may be busy: no test is about the usual time
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[Client]:
    """Return a connected client."""
    with modeldb.connect() as connected:
        yield connected
