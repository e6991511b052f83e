"""Writing commits into folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError, ModelDBError
from modeldb_core.repositories.blobs import Blob
from modeldb_core.repositories.checkout import MARK, checkout
from modeldb_core.trees.folders import are_one, remove_folder

if TYPE_CHECKING:
    from pathlib import Path

    from modeldb_core.tracking.repositories.repository import RepositoryHandle


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != MARK)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def kept(repository: RepositoryHandle, **contents: str) -> Blob:
    """Return data of which the files were kept."""
    put = repository.reader.artifacts.put
    import io

    parts = {}
    for name, text in contents.items():
        info = put(io.BytesIO(text.encode()))
        parts[name.replace("__", "/")] = {"digest": info.digest, "size_bytes": info.size_bytes}
    return Blob("data", {"type": "path"}, repository.reader.trees.build(parts).root)


def test_a_folder_is_brought_to_a_commit_and_to_another_one(repository: RepositoryHandle, tmp_path: Path) -> None:
    with repository.commit("first") as commit:
        commit["config"] = {"lr": 0.1}
        commit["deep/er/config"] = {"a": 1}
        commit["data"] = kept(repository, a="A", sub__b="B")
    with repository.commit("second") as commit:
        commit["config"] = {"lr": 0.2}
        del commit["deep/er/config"]
        commit["data"] = kept(repository, a="A", sub__b="B2", c="C")
        commit["deep"] = {"now": "a file"}
    first, second = repository["main~"], repository["main"]
    folder = first.checkout(tmp_path / "out")
    assert {name: text for name, text in files(folder).items() if name.startswith("data")} == {
        "data/a": "A",
        "data/sub/b": "B",
    }
    assert json.loads((folder / "config").read_text()) == {"kind": "config", "hyperparameters": {"lr": 0.1}}
    mine = folder / "mine.txt"
    mine.write_text("stays")
    untouched = (folder / "data" / "a").stat()
    _, plan = checkout(second.reader, second.entity, folder)
    assert sorted(plan.write) == ["config", "data/c", "data/sub/b", "deep"]
    assert sorted(plan.remove) == ["deep/er/config"]
    assert (folder / "data" / "a").stat() == untouched
    assert sorted(files(folder)) == ["config", "data/a", "data/c", "data/sub/b", "deep", "mine.txt"]
    second.checkout(folder)
    first.checkout(folder)
    assert sorted(files(folder)) == ["config", "data/a", "data/sub/b", "deep/er/config", "mine.txt"]


def test_a_file_that_is_in_the_way_stays_unless_forced(repository: RepositoryHandle, tmp_path: Path) -> None:
    with repository.commit("first") as commit:
        commit["a/config"] = {"lr": 0.1}
        commit["b"] = {"x": 1}
    with repository.commit("second") as commit:
        del commit["a/config"]
        commit["b"] = {"x": 2}
    first, second = repository["main~"], repository["main"]
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "b").write_text("mine")
    with pytest.raises(AlreadyExistsError, match="b is there"):
        first.checkout(folder)
    assert files(folder) == {"b": "mine"}, "nothing was written"
    first.checkout(folder, force=True)
    (folder / "a" / "config").write_text("altered")
    with pytest.raises(AlreadyExistsError, match="a/config is there"):
        second.checkout(folder)
    (folder / "a" / "config").unlink()
    second.checkout(folder)
    assert sorted(files(folder)) == ["b"]
    with pytest.raises(InvalidArgumentError):
        second.checkout(folder / "b")


def test_nothing_is_written_through_links_or_outside(repository: RepositoryHandle, tmp_path: Path) -> None:
    with repository.commit("first") as commit:
        commit["a/b"] = {"lr": 0.1}
        commit["c"] = {"lr": 0.1}
    head = repository["main"]
    outside, folder = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    folder.mkdir()
    (outside / "victim").write_text("precious")
    (folder / "a").symlink_to(outside)
    (folder / "c").symlink_to(outside / "victim")
    with pytest.raises(AlreadyExistsError, match="a is a link.*c is a link"):
        head.checkout(folder)
    with pytest.raises(AlreadyExistsError, match="a is a link"):
        head.checkout(folder, force=True)
    (folder / "a").unlink()
    head.checkout(folder, force=True)
    assert not (folder / "c").is_symlink()
    assert (outside / "victim").read_text() == "precious"
    reader = repository.reader
    for location in ("a\\b", "x" * 300, "c\nd", MARK, ".git/config", "a/.Git", "git~1/x"):
        tree = reader.trees.build({location: {"kind": "config", "content": {}}})
        with pytest.raises(InvalidArgumentError):
            checkout(reader, replaced(head.entity, tree.root), tmp_path / "hostile")
    hook = kept(repository, **{".git__hooks__pre-commit": "rm"})
    tree = reader.trees.build({"data": {"kind": "data", "content": {"type": "path"}, "tree": hook.tree}})
    with pytest.raises(InvalidArgumentError, match="git"):
        checkout(reader, replaced(head.entity, tree.root), tmp_path / "hostile")
    assert not (tmp_path / "hostile").exists()


def test_a_mark_of_something_else_is_no_reason_to_remove_anything(repository: RepositoryHandle, tmp_path: Path) -> None:
    with repository.commit("first") as commit:
        commit["a"] = {"lr": 0.1}
    with repository.commit("second") as commit:
        del commit["a"]
        commit["b"] = {"lr": 0.1}
    folder = repository["main~"].checkout(tmp_path / "out")
    tree = repository["main~"].entity.tree
    for mark in ("", "[]", "{}", json.dumps({"repository_id": "other", "tree": tree}), json.dumps({"tree": 1}),
                 json.dumps({"repository_id": repository.repository_id, "tree": "0" * 64})):  # fmt: skip
        (folder / MARK).write_text(mark)
        repository["main"].checkout(folder)
        assert sorted(files(folder)) == ["a", "b"]


def test_a_file_of_the_user_in_a_folder_that_becomes_a_file_is_told_before_anything_is_removed(
    repository: RepositoryHandle, tmp_path: Path
) -> None:
    with repository.commit("first") as commit:
        commit["data"] = kept(repository, a="A", sub__b="B")
        commit["other"] = {"x": 1}
    with repository.commit("second") as commit:
        commit["data"] = {"now": "a file"}
        del commit["other"]
    first, second = repository["main~"], repository["main"]
    folder = first.checkout(tmp_path / "out")
    for mine in ("notes.txt", "sub/more/notes.txt"):
        (folder / "data" / mine).parent.mkdir(exist_ok=True)
        (folder / "data" / mine).write_text("mine")
        before = files(folder)
        for force in (False, True):
            with pytest.raises(AlreadyExistsError, match=f"data/{mine.removesuffix('/notes.txt')}"):
                second.checkout(folder, force=force)
        assert files(folder) == before, "nothing was removed"
        (folder / "data" / mine).unlink()
    (folder / "data" / "sub" / "more").rmdir()
    (folder / "data" / "sub" / "b").unlink()
    (folder / "data" / "sub").rmdir()
    (folder / "data" / "a").unlink()
    second.checkout(folder)
    assert sorted(files(folder)) == ["data"]


def test_files_of_kept_data_keep_their_names(repository: RepositoryHandle, tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    with repository.commit("first") as commit:
        commit["data"] = kept(repository, **{composed: "1", apart: "2", "a\\b": "3"})
    folder = repository["main"].checkout(tmp_path / "out")
    assert files(folder) == {f"data/{composed}": "1", f"data/{apart}": "2", "data/a\\b": "3"}


def test_locations_that_meet_are_refused(repository: RepositoryHandle, tmp_path: Path) -> None:
    with repository.commit("first") as commit:
        commit["a"] = {"lr": 0.1}
    reader, head = repository.reader, repository["main"].entity
    data = {"kind": "data", "content": {"type": "path"}, "tree": kept(repository, x="1").tree}
    blob = {"kind": "config", "content": {}}
    for entries in ({"data": data, "data/x": blob}, {"data": data, "data/x/y": blob}, {f"{MARK}/x": blob}):
        with pytest.raises(ModelDBError):
            checkout(reader, replaced(head, reader.trees.build(entries).root), tmp_path / "hostile")
    assert not (tmp_path / "hostile").exists()


def test_a_commit_is_checked_out_however_deep_its_folders_are(repository: RepositoryHandle, tmp_path: Path) -> None:
    deep = "/".join(["d"] * 1200)
    with repository.commit("deep") as commit:
        commit["data"] = kept(repository, **{f"{deep}/a": "A"})
        commit[f"{deep[:999]}/config"] = {"lr": 0.1}
    folder = repository["main"].checkout(tmp_path / "out")
    assert (folder / "data" / deep / "a").read_text() == "A"
    assert (folder / deep[:999] / "config").is_file()
    with repository.commit("shallow") as commit:
        commit["data"] = {"now": "a file"}
        del commit[f"{deep[:999]}/config"]
    repository["main"].checkout(folder)
    assert sorted(path.name for path in folder.iterdir()) == [MARK, "data"]
    with repository.commit("too deep for a path") as commit:
        commit["more"] = kept(repository, **{"/".join(["e"] * 2040): "E"})
    with pytest.raises(InvalidArgumentError, match="cannot be a file on this machine"):
        repository["main"].checkout(tmp_path / "never")
    assert not (tmp_path / "never").exists()
    remove_folder(tmp_path)  # who removes it later may call itself for each level
    assert not tmp_path.exists()


def test_names_that_are_one_on_the_file_system_are_told_before_anything_is_written(
    repository: RepositoryHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository.commit("first") as commit:
        commit["data"] = kept(repository, **{"Train/a": "1", "train/b": "2"})
        commit["Config"] = {"lr": 0.1}
    assert len(files(repository["main"].checkout(tmp_path / "out"))) == 3, "here they differ"
    assert not are_one(tmp_path / "not" / "there", "data/Train", "data/train")
    asked = []
    monkeypatch.setattr("modeldb_core.trees.folders.are_one", lambda *names: asked.append(names) or True)
    with pytest.raises(InvalidArgumentError, match="'data/Train' and 'data/train' have one name"):
        repository["main"].checkout(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    assert asked == [(tmp_path / "elsewhere", "data/Train", "data/train")]


def replaced(entity: object, tree: str) -> object:
    from dataclasses import replace

    return replace(entity, tree=tree)  # type: ignore[type-var]
