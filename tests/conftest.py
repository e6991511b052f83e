"""What all tests share: none of them may see, or leave anything in, the configuration and state of the user."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.services.postgres import Postgres
from tests.services.s3 import Rclone, SeaweedFS
from tests.waiting import wait_until

# Times are not asserted: the machine that runs the tests may be busy. A run tries the same cases as the one before it,
# so that a change alone can turn it red; `tox -e fuzz` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("MODELDB_TEST_FUZZ") else "repeatable")

# Several workers share a few processors: threads of BLAS and OpenMP that spin while they wait for one another would take
# minutes for what takes a second. Set before numpy is imported here, and for every process that a test starts.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# A command that a shell started in the background ignores Ctrl-C, and so would every program that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Torch is large: Lightning's tests have an environment of their own (tox -e lightning), which scripts/test runs as well.
HAS_LIGHTNING = find_spec("pytorch_lightning") is not None or bool(os.environ.get("MODELDB_TEST_LIGHTNING"))
collect_ignore = [] if HAS_LIGHTNING else ["lightning"]
# The tools that look at the deployment files are many and large: tox -e deploy installs them and runs these tests.
if not os.environ.get("MODELDB_TEST_DEPLOY"):
    collect_ignore.append("deploy/test_tools.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module without a test of the mark that ``-m`` begins with: importing them all takes a minute."""
    mark, _, other = config.option.markexpr.partition(" ")
    is_module = collection_path.suffix == ".py" and mark.isidentifier() and mark != "not" and other[:3] in ("", "and")
    return True if is_module and f"mark.{mark}" not in collection_path.read_text() else None


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let tests that share what takes long to make run on one worker, and those of the browser last."""
    from tests.scheduling import GroupScheduling

    return GroupScheduling(config, log)


def pytest_report_header() -> list[str]:
    return (
        []
        if HAS_LIGHTNING
        else ["left out: tests/lightning, since Lightning is not installed; tox -e lightning runs them"]
    )


_numbers = itertools.count()


def _make_folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """Make a folder of a new name. pytest lists all there are for that, which takes longer the more tests there were."""
    folder = factory.getbasetemp() / f"{name}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder of the test's own."""
    return _make_folder(tmp_path_factory, re.sub(r"\W", "_", request.node.name)[:30])


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = _make_folder(tmp_path_factory, "home")
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(home / variable.lower()))
    for variable in list(os.environ):
        if variable.startswith("MODELDB_") and not variable.startswith("MODELDB_TEST_"):
            monkeypatch.delenv(variable)


@pytest.fixture
def no_running_loop() -> Iterator[None]:
    """Let a test run a loop of its own where the browser's tests have left theirs, which counts as running, behind."""
    left = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(left)


def _writers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "modeldb-writer"}


@pytest.fixture(scope="module", autouse=True)
def _no_writer_is_left() -> Iterator[None]:
    """Let no client be left open, nor begin anew after it was closed: its thread would slow down all later tests."""
    before = _writers()
    yield
    wait_until(
        lambda: not _writers() - before, lambda: f"{len(_writers() - before)} clients were not closed", limit_s=60
    )


@pytest.fixture(scope="session")
def s3() -> Iterator[SeaweedFS]:
    """A real S3 server, shared by all tests of a worker: make a bucket of your own, and leave it running."""
    server = SeaweedFS()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def weak_s3() -> Iterator[Rclone]:
    """An S3 server that ignores conditions and checksums, likewise shared."""
    server = Rclone()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, shared by all tests of a worker: take :func:`postgres_url`, and leave it running."""
    server = Postgres(settings={"fsync": "off"})  # no test cuts the power: what is written outlives a kill
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    url = postgres.new_database()
    yield url
    postgres.give_back(url)
