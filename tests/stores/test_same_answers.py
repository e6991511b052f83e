"""One script, whichever store the configuration names: the same answers. And the same again when records move on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import modeldb_core as modeldb
from modeldb_core.audit import verify
from modeldb_core.movement.copying import copy
from modeldb_core.plugins import open_artifacts, open_store
from modeldb_core.tracking import Client
from tests.services.postgres import Postgres
from tests.services.s3 import SeaweedFS
from tests.services.server import TOKEN, ModelDBServer
from tests.stores.answers import answers, train


@dataclass(frozen=True)
class Configuration:
    """What stands in ``modeldb.toml``."""

    url: str
    artifact_url: str
    more: dict[str, Any] = field(default_factory=dict)

    def connect(self, folder: Path) -> Client:
        """Connect as a script does."""
        return modeldb.connect(
            self.url,
            artifact_url=self.artifact_url,
            journal_dir=folder / "journals",
            cache_dir=folder / "cache",
            capture_enabled=False,
            flush_interval_s=0.05,
            user="ann",
            lease_s=3600.0,  # it is renewed when a third is over: not while a slow machine compares
            **self.more,
        )


Make = Callable[[Path, ExitStack, pytest.FixtureRequest], Configuration]


def _memory(folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> Configuration:
    del folder, stack, request
    return Configuration("memory://", "memory://")


def _sqlite(folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> Configuration:
    del stack, request
    return Configuration(f"sqlite:///{folder}/modeldb.db", f"file://{folder}/artifacts")


def _postgres(folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> Configuration:
    server: Postgres = request.getfixturevalue("postgres")
    url = server.new_database()
    stack.callback(server.give_back, url)
    return Configuration(url, f"file://{folder}/artifacts")


def _folder(folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> Configuration:
    del stack, request
    return Configuration(f"file://{folder}/bucket", f"file://{folder}/bucket/artifacts")


def _s3(folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> Configuration:
    del folder, stack
    server: SeaweedFS = request.getfixturevalue("s3")
    bucket = server.new_bucket()
    options = {"stores": {"s3": server.options}}
    return Configuration(f"s3://{bucket}/store", f"s3://{bucket}/files", options)


def _remote(of: Make) -> Make:
    def make(folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> Configuration:
        below = of(folder, stack, request)
        server = ModelDBServer(below.url, below.artifact_url)
        stack.callback(server.stop)
        return Configuration(server.url, server.url, {"token": TOKEN})

    return make


CONFIGURATIONS: dict[str, Make] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
    "objects in a folder": _folder,
    "objects on S3": _s3,
    "a server on sqlite": _remote(_sqlite),
    "a server on postgres": _remote(_postgres),
}


@pytest.fixture
def configure(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Configuration]]:
    """Return a function that gives a new, empty store of a sort."""
    with ExitStack() as stack:
        count = iter(range(100))

        def make(name: str) -> Configuration:
            folder = tmp_path / f"{next(count)}"
            folder.mkdir()
            return CONFIGURATIONS[name](folder, stack, request)

        yield make


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what the reference answers."""
    folder = tmp_path_factory.mktemp("reference")
    with Configuration("memory://", "memory://").connect(folder) as client:
        train(client)
        return answers(client.store, exactly=False)


def differing(one: dict[str, str], other: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return the questions that are not answered alike, with both answers from where they part."""
    found = {}
    for question in one.keys() | other.keys():
        left, right = one.get(question, ""), other.get(question, "")
        if left != right:
            at = next(i for i, pair in enumerate(zip(left + "\0", right + "\1", strict=False)) if len(set(pair)) > 1)
            found[question] = (left[max(at - 200, 0) : at + 100], right[max(at - 200, 0) : at + 100])
    return found


# A server on SQLite is a server, as that on PostgreSQL, on a store that is tried alone.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.thorough) if name == "a server on sqlite" else name
        for name in CONFIGURATIONS
    ],
)
def test_one_script_gets_the_same_answers_everywhere(
    name: str, configure: Callable[[str], Configuration], expected: dict[str, str], tmp_path: Path
) -> None:
    with configure(name).connect(tmp_path) as client:
        train(client)
        assert differing(answers(client.store, exactly=False), expected) == {}
        report = verify(client.store, client.artifacts)
        assert report.ok, report


def test_records_that_moved_through_every_store_answer_as_before(
    configure: Callable[[str], Configuration], tmp_path: Path
) -> None:
    """SQLite to Postgres to a server to a bucket and back to SQLite: the same heads, the same answers, letter by letter."""
    chain = ["sqlite", "postgres", "a server on postgres", "objects on S3", "objects in a folder", "sqlite"]
    with configure("memory").connect(tmp_path) as client, ExitStack() as stack:
        train(client)
        client.flush()
        source, files = client.store, client.artifacts
        heads, before = dict(source.heads()), answers(source)
        count = len(source.read_changes(limit=100_000).changes)
        for name in chain:
            configuration = configure(name)
            settings = modeldb.connect(configuration.url, **configuration.more).settings
            target = stack.enter_context(open_store(configuration.url, settings))
            target_files = open_artifacts(configuration.artifact_url, settings)
            stack.callback(target_files.close)
            done = copy(source, target, artifacts=(files, target_files))
            assert done.ok, (name, done)
            assert done.changes == count
            assert dict(target.heads()) == heads, name
            assert differing(answers(target), before) == {}, name
            assert copy(source, target, artifacts=(files, target_files)).changes == 0
            source, files = target, target_files
        report = verify(source, files)
        assert report.ok, report
