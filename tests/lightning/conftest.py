"""A client on a real SQLite store, both packages of Lightning, and autologging that is off again after each test."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.model.entities import Run
from modeldb_lightning import autolog
from modeldb_lightning.options import GUARD
from tests.lightning.small import make_model, make_trainer

# Warnings of Lightning and of torch about themselves are none of ours; ours are errors, and stand at Lightning's lines.
FILTERS = (
    r"ignore:::pytorch_lightning",
    r"ignore:::lightning",
    r"ignore:::torch",
    "ignore:.*treespec.*",
    "error::modeldb_core.errors.ModelDBWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(*FILTERS), append=False)


@pytest.fixture(autouse=True)
def _quiet_lightning() -> Iterator[None]:
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    yield
    autolog(disable=True)
    GUARD.forget()


@pytest.fixture(params=["pytorch_lightning", "lightning.pytorch"])
def either(request: pytest.FixtureRequest) -> Any:
    """Return each of the two packages that Lightning comes in."""
    return importlib.import_module(request.param)


@pytest.fixture
def pl() -> Any:
    return importlib.import_module("pytorch_lightning")


@pytest.fixture
def model(pl: Any) -> Callable[..., Any]:
    return partial(make_model, pl)


@pytest.fixture
def trainer(pl: Any, tmp_path: Path) -> Callable[..., Any]:
    return partial(make_trainer, pl, tmp_path / "root")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """Return a client whose store, artifacts and journal lie below ``tmp_path``."""
    with modeldb.connect(
        f"sqlite:///{tmp_path}/modeldb.db",
        artifact_url=f"file://{tmp_path}/artifacts",
        journal_dir=str(tmp_path / "journals"),
        flush_interval_s=0.02,
        exit_timeout_s=240.0,  # the machine may be busy, and what came after the end would open the client again
        capture_enabled=False,
    ) as connected:
        yield connected


@pytest.fixture
def runs(client: Any) -> Callable[[], list[Run]]:
    """Return a function that reads all runs, oldest first."""

    def read() -> list[Run]:
        assert client.flush(100)
        return [run.entity for run in client.search_runs(limit=1000, order_by="created_at")]

    return read


@pytest.fixture
def only(runs: Callable[[], list[Run]]) -> Callable[[], Run]:
    """Return a function that reads the only run there is."""

    def read() -> Run:
        (run,) = runs()
        return run

    return read


@pytest.fixture
def steps(client: Any) -> Callable[[str, str], list[int]]:
    """Return a function that reads the steps of a series in the order of logging."""

    def read(run_id: str, key: str) -> list[int]:
        return [int(step) for step in client.get_run(run_id).history(key).steps]

    return read
