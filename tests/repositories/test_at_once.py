"""Several processes and threads at one branch, stores that cannot decide, and what a commit costs in a large repository."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import BranchMovedError, ConditionsUnsupportedError
from modeldb_core.repositories.checkout import checkout
from tests.backends.writers import in_children

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from modeldb_core import Client
    from modeldb_core.log.changes import Change
    from modeldb_core.tracking.repositories.repository import RepositoryHandle

PROCESSES, COMMITS = 8, 2


def test_of_eight_processes_that_commit_to_one_branch_none_loses_a_commit(tmp_path: Path) -> None:
    url, files = f"sqlite:///{tmp_path}/store.db", f"file://{tmp_path}/files"

    def connected() -> Client:
        journal = tmp_path / f"journal {os.getpid()}"
        return modeldb.connect(url, artifact_url=files, journal_dir=journal, capture_enabled=False)

    context = multiprocessing.get_context("fork")
    all_have_looked, told = context.Barrier(PROCESSES), context.Value("i", 0)

    def work() -> None:
        with connected() as client:
            repository = client.repository("churn")
            for number in range(COMMITS):
                draft = repository.commit(f"commit {os.getpid()} {number}")
                draft[f"of/{os.getpid()}/{number}"] = {"number": number}
                if number == 0:
                    all_have_looked.wait(240)  # so that all but one are told
                while draft.commit is None:
                    try:
                        draft.save()
                    except BranchMovedError as error:
                        assert "made by" in str(error)
                        with told:
                            told.value += 1
                        draft.rebase()

    with connected() as client, client.repository("churn").commit("first") as commit:
        commit["config"] = {"lr": 0.1}
    in_children(PROCESSES, work)
    assert told.value >= PROCESSES - 1
    with connected() as client:
        repository = client.repository("churn")
        messages = [each.message for each in repository.log()]
        assert len(set(messages)) == len(messages) == 1 + PROCESSES * COMMITS
        assert len(repository["main"]) == 1 + PROCESSES * COMMITS


def test_a_bucket_without_conditional_writes_refuses_commits(weak_s3: Any, tmp_path: Path) -> None:
    url = f"s3://{weak_s3.new_bucket()}?{urlencode({**weak_s3.options, 'max_staleness_s': 0})}"
    places = {name: tmp_path / name for name in ("journal_dir", "cache_dir")}
    with modeldb.connect(url, artifact_url=f"file://{tmp_path}/files", **places) as client:
        repository = client.repository("churn")
        with pytest.raises(ConditionsUnsupportedError, match="If-None-Match"), repository.commit("first") as commit:
            commit["config"] = {"lr": 0.1}
        repository.refresh()
        assert not repository.branches


class Counted:
    """Passes on to a store of files and counts what is asked of it."""

    def __init__(self, artifacts: Any) -> None:
        self._artifacts = artifacts
        self.read = self.written = 0
        self.bytes_written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._artifacts, name)

    def put(self, stream: BinaryIO, **options: Any) -> Any:
        info = self._artifacts.put(stream, **options)
        self.written += 1
        self.bytes_written += info.size_bytes
        return info

    def open(self, digest: str) -> Any:
        self.read += 1
        return self._artifacts.open(digest)


def test_a_commit_of_one_change_among_ten_thousand_costs_what_it_changes(
    repository: RepositoryHandle, tmp_path: Path
) -> None:
    with repository.commit("all") as commit:
        for number in range(10_000):
            commit[f"configs/{number % 100:02}/{number:05}"] = {"number": number}
    with repository.commit("one") as commit:
        commit["configs/50/00050"] = {"number": -1}
    first, second = repository["main~"], repository["main"]
    reader = repository.reader
    changes: list[Change] = []
    for artifacts, store in counted(repository, changes):
        with repository.commit("another") as commit:
            commit["configs/70/00070"] = {"number": -2}
        assert artifacts.written <= 6, "nodes from the leaf to the root"
        assert artifacts.bytes_written < 60_000
        assert len(changes) == 4, "the commit and the branch, and the beginning and end of the stream"
        assert sum(len(each.payload or b"") for each in changes) < 2_000
        assert store.asked <= 6
    for artifacts, _ in counted(repository, changes):
        (found,) = second.diff(first)
        assert [each.name for each in found.parts] == ["number"]
        assert artifacts.read <= 12
    folder, _ = checkout(reader, first.entity, tmp_path / "out")
    for artifacts, _ in counted(repository, changes):
        _, plan = checkout(repository.reader, second.entity, folder)
        assert list(plan.write) == ["configs/50/00050"]
        assert artifacts.read <= 12


class CountedStore:
    """Passes on to a store and counts the questions; keeps what is applied."""

    def __init__(self, store: Any, changes: list[Change]) -> None:
        self._store, self._changes = store, changes
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        if name in ("get", "find"):
            self.asked += 1
        return getattr(self._store, name)

    def apply(self, changes: Sequence[Change], **options: Any) -> None:
        self._changes[:] = changes
        self._store.apply(changes, **options)


def counted(repository: RepositoryHandle, changes: list[Change]) -> Iterator[tuple[Counted, CountedStore]]:
    """Give a repository that was just opened, once, and count what is asked of its stores."""
    from modeldb_core.repositories.reading import RepositoryReader

    reader = repository.reader
    artifacts, store = Counted(reader.artifacts), CountedStore(reader.store, changes)
    repository.reader = RepositoryReader(store, artifacts, reader.repository)  # type: ignore[arg-type]
    yield artifacts, store
    repository.reader = reader
    repository.refresh()
