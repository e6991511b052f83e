"""What a commit needs outlives garbage collection, and goes along to another store."""

from __future__ import annotations

import io
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import modeldb_core as modeldb
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.model.entities import Repository
from modeldb_core.movement.collection import Collected, remove_blobs
from modeldb_core.movement.copying import copy
from modeldb_core.tracking.repositories.repository import RepositoryHandle

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from modeldb_core import Client


def test_a_commit_is_whole_after_garbage_was_collected_and_in_another_store(
    repository: RepositoryHandle, client: Client, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a.csv").write_text("a,b\n1,2\n")
    (data / "sub" / "b.csv").write_text("c\n3\n")
    settings = {f"setting {number}": number for number in range(500)}  # too many to stand in the tree
    with repository.commit("first") as commit:
        commit["data"] = modeldb.path(data, keep=True)
        commit["config"] = settings
        commit["query"] = modeldb.query("select 1", source="postgresql://me:secret@host/db")
    with repository.commit("second") as commit:
        commit["config"] = {**settings, "setting 1": -1}
    client.artifacts.put(io.BytesIO(b"garbage"))
    long_ago = time.time() - 3 * 24 * 3600
    for path in (tmp_path / "files").rglob("*"):
        os.utime(path, (long_ago, long_ago))
    done = Collected()
    remove_blobs(client.store, client.artifacts, timedelta(hours=1), done)
    assert done.blobs == 1, "the garbage alone"
    other, files = MemoryStore(), FsspecArtifactStore(f"file://{tmp_path}/others")
    copy(client.store, other, artifacts=(client.artifacts, files))
    found = other.get("repository", repository.repository_id)
    assert isinstance(found, Repository)
    copied = RepositoryHandle(other, files, found, "ada")
    assert "secret" not in str(copied["main"]["query"].content)
    (changed,) = copied["main"].diff()
    assert [(each.name, each.before, each.after) for each in changed.parts] == [("setting 1", 1, -1)]
    folder = copied["main~"].checkout(tmp_path / "out")
    assert (folder / "data" / "a.csv").read_text() == "a,b\n1,2\n"
    assert (folder / "data" / "sub" / "b.csv").read_text() == "c\n3\n"


def test_committing_a_kept_folder_again_sends_the_files_that_changed_and_no_others(
    repository: RepositoryHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(60):
        (data / f"{number}.csv").write_text(f"row {number}\n")
    sent: list[bytes] = []

    def counted(store: FsspecArtifactStore, stream: Any, **options: Any) -> Any:
        content = stream.read()
        sent.append(content)
        return put(store, io.BytesIO(content), **options)

    put = FsspecArtifactStore.put
    monkeypatch.setattr(FsspecArtifactStore, "put", counted)

    def files() -> int:
        return sum(content.startswith(b"row") for content in sent)

    with repository.commit("first") as commit:
        commit["data"] = modeldb.path(data, keep=True)
    assert files() == 60
    sent.clear()
    (data / "7.csv").write_text("row seven\n")
    with repository.commit("second") as commit:
        commit["data"] = modeldb.path(data, keep=True)
    assert files() == 1
    sent.clear()
    with repository.commit("described, and kept after all") as commit:
        commit["data"] = modeldb.path(data)
        commit["data"] = modeldb.path(data, keep=True)
        commit["other"] = modeldb.path(data / "7.csv")
    folder = repository["main"].checkout(tmp_path / "out")
    assert (folder / "data" / "7.csv").read_text() == "row seven\n"
    assert len(list((folder / "data").iterdir())) == 60
    assert files() == 60, "what was only described is not known to be kept"
