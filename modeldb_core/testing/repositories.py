"""How branches of repositories move: each once, to one commit, and whoever is slower is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.commands import commits, merges
from modeldb_core.commands.operation import execute
from modeldb_core.errors import BranchMovedError, ConditionsUnsupportedError, InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import DEFAULT_WORKSPACE, Repository, new_id
from modeldb_core.movement.deletion import to_delete
from modeldb_core.repositories.blobs import blob_of
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.testing.scene import Scene, StoreCase

if TYPE_CHECKING:
    from modeldb_core.commands.operation import Operation


class RepositoryTests(StoreCase):
    """What :mod:`modeldb_core.commands.commits` and :mod:`~modeldb_core.commands.merges` promise over a store."""

    promises: ClassVar[tuple[object, ...]] = (MetadataStore.apply, commits.commit, merges.merge)

    def test_a_branch_moves_with_its_commit_or_neither_is_there(self, scene: Scene) -> None:
        if not scene.store.decides:
            with pytest.raises(ConditionsUnsupportedError):
                _Home(scene).commit("first", lr=1)
            return
        home, slow = _Home(scene), None
        first = home.commit("first", lr=1, batch=1)
        slow = home.again()
        second = home.commit("second", lr=2, batch=1)
        with pytest.raises(BranchMovedError, match="'second'"):
            slow.commit("late", lr=3, batch=1)
        assert [each.name for each in slow.reader.log(slow.reader.commit("main"))] == ["second", "first"]
        assert home.reader.commit("main~").entity_id == first
        assert home.reader.commit(home.reader.commit(second).digest[:12]).entity_id == second
        home.apply(commits.create_branch(home.reader, "try", home.reader.commit(first)))
        theirs = home.commit("theirs", "try", lr=1, batch=9)
        plan = merges.merge(home.reader, home.reader.commit("try"), "main", author="ada")
        assert plan.operation is not None
        home.apply(plan.operation)
        merged = home.reader.commit("main")
        assert merged.parent_ids == (second, theirs)
        assert home.reader.blob(merged, "config").content["hyperparameters"] == {"batch": 9, "lr": 2}
        assert home.reader.history.merge_bases([second], [theirs]) == (first,)
        origins = {each.name: each.commit.name for each in home.reader.blame(merged, "config")}
        assert origins == {"batch": "theirs", "lr": "second"}
        with pytest.raises(InvalidArgumentError, match="names it"):
            to_delete(scene.store, "commit", second)
        with pytest.raises(NotFoundError):
            _Home(scene).reader.commit(merged.digest)
        home.apply(commits.delete_branch(home.reader, "try"))
        assert list(home.reader.branches) == ["main"]


class _Home:
    """A repository of its own in the store of a scene."""

    def __init__(self, scene: Scene, repository_id: str = "") -> None:
        self._scene = scene
        self._writer = DirectWriter(scene.store, "ada")
        self._artifacts = FsspecArtifactStore("memory://repositories-under-test")
        self._repository_id = repository_id or new_id()
        if not repository_id:
            (workspace_id,) = scene.store.identify(("workspace", DEFAULT_WORKSPACE))
            fields = {"name": f"churn {self._repository_id}", "workspace_id": workspace_id}
            scene.writer.create(Repository.KIND, self._repository_id, **fields)
            scene.ship()
        found = scene.store.get(Repository.KIND, self._repository_id)
        assert isinstance(found, Repository)
        self.reader = RepositoryReader(scene.store, self._artifacts, found)

    def again(self) -> _Home:
        """Return it as somebody else reads it now."""
        return _Home(self._scene, self._repository_id)

    def commit(self, message: str, branch: str = "main", /, **settings: int) -> str:
        """Commit settings and return the identifier of the commit."""
        head, is_new = commits.beginning(self.reader, branch, None)
        tree = commits.edit_tree(self.reader, head, {"config": blob_of(settings, "settings")})
        operation = commits.commit(
            self.reader,
            tree,
            [] if head is None else [head],
            branch=branch,
            message=message,
            author="ada",
            is_new=is_new,
        )
        self.apply(operation)
        return operation.entity_id

    def apply(self, operation: Operation) -> None:
        """Carry an operation out."""
        commits.carry_out(self.reader, operation, lambda it: execute(self._writer, it, stream_id=new_id()))
