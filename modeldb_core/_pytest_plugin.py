"""The pytest plugin of ModelDB: it lets anyone run the conformance suites against a URL.

Loaded by pytest wherever ModelDB is installed, so it imports nothing of ModelDB before a test asks for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from typing import Literal

    from modeldb_core.stores import ArtifactStore, MetadataStore

FOLDER = "{tmp_path}"
"""In a URL: a folder of each test's own."""

_SUITES = "modeldb_core.testing"

# The suites are not test modules by name, and their asserts shall explain themselves all the same.
pytest.register_assert_rewrite(
    *(
        f"{_SUITES}.{name}"
        for name in (
            "applying",
            "artifacts",
            "entities",
            "finding",
            "hostile",
            "lasting",
            "letters",
            "machine",
            "paging",
            "scene",
            "series",
            "streams",
        )
    )
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
    group.addoption(
        "--modeldb-examples",
        metavar="N",
        type=int,
        default=20,
        help="how many random histories the state machine tries on the metadata store (default: 20)",
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which stores are tested, and with which options they are opened."""
    lines = []
    if url := config.getoption("modeldb_store"):
        lines.append(f"modeldb metadata store: {_description(url, 'metadata')}")
    if url := config.getoption("modeldb_artifacts"):
        lines.append(f"modeldb artifact store: {_description(url, 'artifacts')}")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the suites for which no store is named."""
    needs = {
        "modeldb_store": ("modeldb_store_url", "modeldb_next_store"),
        "modeldb_artifacts": ("modeldb_make_artifacts",),
    }
    unmet = {fixture for option, fixtures in needs.items() if not config.getoption(option) for fixture in fixtures}
    left_out = [
        item for item in items if _is_conformance(item) and unmet.intersection(getattr(item, "fixturenames", ()))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the contract says beside a test of the suites that failed."""
    report = yield
    function = getattr(item, "function", None)
    if report.failed and function is not None and function.__module__.startswith(f"{_SUITES}."):
        report.sections += _contract_of(function)
    return report


@pytest.fixture
def modeldb_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of the store at ``--modeldb-store``, for this test."""
    return _url(request, "modeldb_store").replace(FOLDER, str(tmp_path))


@pytest.fixture
def modeldb_make_store(modeldb_store_url: str) -> Callable[[], MetadataStore]:
    """Return a function that opens the store at ``--modeldb-store``, with the options that the settings give it."""
    return lambda: _open_store(modeldb_store_url)


@pytest.fixture
def modeldb_next_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> _NextStore:
    """Return what opens the store at ``--modeldb-store`` again and again, in a folder of its own where it can."""
    return _NextStore(_url(request, "modeldb_store"), tmp_path_factory)


@pytest.fixture
def modeldb_make_artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], ArtifactStore]:
    """Return a function that opens the store at ``--modeldb-artifacts``, with the options that the settings give it."""
    from modeldb_core.plugins import load_settings, open_artifacts

    url = _url(request, "modeldb_artifacts").replace(FOLDER, str(tmp_path))
    settings = load_settings(artifact_url=url)
    return lambda: open_artifacts(url, settings)


class _NextStore:
    """Opens a store whenever it is called; ``is_empty`` says whether it is a new one each time."""

    def __init__(self, url: str, folders: pytest.TempPathFactory) -> None:
        from modeldb_core.plugins import Places
        from modeldb_core.stores import Process

        self.is_empty = FOLDER in url or isinstance(Places().place_of(url), Process)
        self._url, self._folders = url, folders

    def __call__(self) -> MetadataStore:
        folder = str(self._folders.mktemp("machine")) if FOLDER in self._url else ""
        return _open_store(self._url.replace(FOLDER, folder))


def _open_store(url: str) -> MetadataStore:
    from modeldb_core.errors import ConfigurationError
    from modeldb_core.plugins import load_settings, open_store

    try:
        return open_store(url, load_settings(url=url))
    except ConfigurationError as error:
        # Nothing of the store has run: a traceback would only show the URL, with what is secret in it.
        pytest.fail(f"{type(error).__name__}: {error}", pytrace=False)


def _url(request: pytest.FixtureRequest, option: str) -> str:
    url = request.config.getoption(option)
    if not url:
        pytest.skip(f"no --{option.replace('_', '-')} was given")
    return str(url)


def _is_conformance(item: pytest.Item) -> bool:
    return item.path.parts[-3:] == (*_SUITES.split("."), "test_conformance.py")


def _description(url: str, kind: Literal["metadata", "artifacts"]) -> str:
    from modeldb_core.errors import ModelDBError
    from modeldb_core.plugins import find_backend, load_settings, store_options
    from modeldb_core.runtime.redaction import redact_url, redact_value

    try:
        settings = load_settings(url=url) if kind == "metadata" else load_settings(artifact_url=url)
        target = find_backend(url, kind, settings).target
        options = redact_value(store_options(url, kind, settings))
    except ModelDBError as error:
        return f"{redact_url(url)}: {error}"
    assert isinstance(options, dict)
    shown = ", ".join(f"{name}={value}" for name, value in options.items()) or "none"
    return f"{redact_url(url)} ({target}; options: {shown})"


def _contract_of(function: Callable[..., object]) -> list[tuple[str, str]]:
    """Return the parts of the contract that the suite of a test is about, as sections of a report."""
    import inspect

    suite = getattr(sys.modules[function.__module__], function.__qualname__.partition(".")[0], None)
    return [
        (f"What the contract says: {promise.__qualname__}", inspect.getdoc(promise) or "")
        for promise in getattr(suite, "promises", ())
    ]
