"""What other programs do to repositories: begin them with a commit, set branches anywhere, delete commits, keep an order."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from modeldb_core.commands import commits, repositories
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.operation import execute
from modeldb_core.errors import AlreadyExistsError, InvalidArgumentError
from modeldb_core.model.entities import Repository
from modeldb_core.movement.collection import Collected, erase_deleted
from modeldb_core.queries import Query
from modeldb_core.repositories.blobs import Blob, from_entry, to_entry
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_core.stores.direct import DirectWriter

if TYPE_CHECKING:
    from modeldb_core import Client
    from modeldb_core.model.entities import Commit


@pytest.fixture
def reader(client: Client) -> RepositoryReader:
    (workspace_id,) = client.store.identify(("workspace", "default"))
    execute(DirectWriter(client.store, "ada"), declare("workspace", workspace_id, "default"))
    fields = {"name": "churn", "workspace_id": workspace_id}
    made = repositories.create_repository(client.store, client.artifacts, fields, branch="master", author="ada")
    execute(DirectWriter(client.store, "ada"), made)
    found = client.store.get("repository", made.entity_id)
    assert isinstance(found, Repository)
    return RepositoryReader(client.store, client.artifacts, found)


def make(reader: RepositoryReader, *parents: Commit, **settings: int) -> Commit:
    """Make a commit that no branch is at."""
    tree = commits.edit_tree(reader, None, {"config": Blob("config", {"hyperparameters": dict(settings)})})
    operation = commits.commit(reader, tree, parents, branch=None, message="a commit", author="ada")
    execute(DirectWriter(reader.store, "ada"), operation)
    return reader.history.commit(operation.entity_id)


def test_a_repository_begins_with_an_empty_commit_or_is_not_there(reader: RepositoryReader, client: Client) -> None:
    first = reader.commit("master")
    assert (first.message, first.parent_ids, list(reader.tree(first).tree.items())) == ("Initial commit", (), [])
    fields = {"name": "churn", "workspace_id": reader.repository.workspace_id}
    again = repositories.create_repository(client.store, client.artifacts, fields, branch="master", author="ada")
    with pytest.raises(AlreadyExistsError):
        execute(DirectWriter(client.store, "ada"), again)
    assert len(client.store.find(Query("commit")).entities) == 1


def test_a_deleted_commit_takes_its_branches_along_and_those_built_on_it_stay(
    reader: RepositoryReader, client: Client
) -> None:
    writer = DirectWriter(client.store, "ada")
    first = reader.commit("master")
    second = make(reader, first, lr=1)
    third = make(reader, second, lr=2)
    for name, at in (("master", second), ("try", second), ("later", third)):
        commits.carry_out(reader, repositories.set_branch(reader, name, at), lambda each: execute(writer, each))
    commits.carry_out(reader, commits.create_tag(reader, "v1", second), lambda each: execute(writer, each))
    assert not repositories.set_branch(reader, "try", second).entries
    gone = repositories.delete_commit(reader, second, window_days=0)
    stale = repositories.delete_commit(reader, third, window_days=0)
    commits.carry_out(reader, gone, lambda each: execute(writer, each))
    assert (dict(reader.branches), dict(reader.tags)) == ({"later": third.entity_id}, {})
    with pytest.raises(Exception, match="revision"):
        execute(writer, stale)
    fresh = RepositoryReader(client.store, client.artifacts, reader.repository)
    assert [each.entity_id for each in fresh.log(third)] == [each.entity_id for each in (third, second, first)]
    done = Collected()
    time.sleep(0.001)
    erase_deleted(writer, timedelta(0), done)
    assert done.entities == 0
    assert "parent_ids" in done.held[0]
    with pytest.raises(InvalidArgumentError, match="cannot be called"):
        repositories.set_branch(fresh, "a..b", third)


@pytest.mark.parametrize("count", [3, 400])
def test_the_order_in_which_somebody_listed_settings_is_kept_and_is_no_content(client: Client, count: int) -> None:
    names = [f"setting {number}" for number in reversed(range(count))]
    settings = {"hyperparameters": dict.fromkeys(names, 1)}
    listed = Blob("config", settings, order={"hyperparameters": names})
    entry = to_entry(listed, client.artifacts.put)
    reader = client.repository("other")
    with reader.commit("first") as commit:
        commit["config"] = listed
    stored = from_entry(entry, client.artifacts.open)
    assert stored.order == {"hyperparameters": names}
    assert stored == listed == Blob("config", settings)
    assert reader["main"]["config"] == listed
    assert not from_entry({**entry, "observed": {"modified_at": 1}}, client.artifacts.open).order
