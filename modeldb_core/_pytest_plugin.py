"""The pytest plugin of ModelDB: it lets anyone run the conformance suites against a URL.

Loaded by pytest wherever ModelDB is installed, so it imports nothing of ModelDB before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from modeldb_core.stores import ArtifactStore, MetadataStore

# The suites are no test modules by name, and their asserts shall explain themselves all the same.
pytest.register_assert_rewrite(
    *(f"modeldb_core.testing.{name}" for name in ("applying", "artifacts", "entities", "finding", "scene", "series"))
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that name the stores to test."""
    group = parser.getgroup("modeldb", "ModelDB")
    group.addoption(
        "--modeldb-store",
        metavar="URL",
        help="the metadata store that the suite in modeldb_core.testing is run against; "
        "{tmp_path} in it stands for a folder of each test's own",
    )
    group.addoption(
        "--modeldb-artifacts",
        metavar="URL",
        help="the artifact store that the suite in modeldb_core.testing is run against; {tmp_path} as above",
    )


@pytest.fixture
def modeldb_make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], MetadataStore]:
    """Return a function that opens the store at ``--modeldb-store``."""
    from modeldb_core.plugins import open_store

    url = _url(request, "modeldb_store", tmp_path)
    return lambda: open_store(url)


@pytest.fixture
def modeldb_make_artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ArtifactStore]:
    """Return a function that opens the artifact store at ``--modeldb-artifacts``."""
    from modeldb_core.plugins import open_artifacts

    url = _url(request, "modeldb_artifacts", tmp_path)
    return lambda: open_artifacts(url)


def _url(request: pytest.FixtureRequest, option: str, tmp_path: Path) -> str:
    url = request.config.getoption(option)
    if not url:
        pytest.skip(f"no --{option.replace('_', '-')} was given")
    return str(url).replace("{tmp_path}", str(tmp_path))
