"""Repositories as a program uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import modeldb_core as modeldb
from modeldb_core.errors import (
    AlreadyExistsError,
    BranchMovedError,
    ConflictError,
    IntegrityError,
    InvalidArgumentError,
    InvalidTypeError,
    MergeConflictError,
    NotFoundError,
)
from modeldb_core.queries import Linked, Query
from modeldb_core.repositories.blobs import Blob
from modeldb_core.tracking import deletion

if TYPE_CHECKING:
    from modeldb_core import Client
    from modeldb_core.tracking.repositories.commits import CommitHandle
    from modeldb_core.tracking.repositories.repository import RepositoryHandle


def put(repository: RepositoryHandle, message: str, branch: str = "main", /, **settings: Any) -> CommitHandle:
    """Commit settings to the location ``config``."""
    with repository.commit(message, branch=branch) as commit:
        commit["config"] = settings
    assert commit.commit is not None
    return commit.commit


def settings_of(commit: CommitHandle) -> Any:
    return commit["config"].content["hyperparameters"]


def test_what_is_committed_is_read_again(repository: RepositoryHandle) -> None:
    with repository.commit("bigger batches", branch="main") as commit:
        commit["config"] = {"lr": 0.01, "batch": 256, "optimizer": {"name": "adam"}}
        commit["search"] = modeldb.configuration(ranges={"lr": (0.001, 0.1)}, sets={"depth": [2, 4]})
        commit["env"] = modeldb.python_environment(
            variables={"MODE": "fast", "API_TOKEN": "abc"}, constraints=["numpy<3"]
        )
        commit["image"] = modeldb.docker_environment("python", tag="3.12")
        commit["code/train"] = modeldb.git_snapshot(remote="https://me:secret@host/x.git", commit="cafe", dirty=True)
    head = repository.branch("main").head
    assert head == commit.commit
    assert sorted(head) == ["code/train", "config", "env", "image", "search"]
    assert len(head) == 5
    assert settings_of(head) == {"batch": 256, "lr": 0.01, "optimizer": {"name": "adam"}}
    assert head["search"].content == {"ranges": {"lr": {"begin": 0.001, "end": 0.1}}, "sets": {"depth": [2, 4]}}
    env = head["env"].content
    assert env["variables"] == {"API_TOKEN": "***", "MODE": "fast"}
    assert env["constraints"] == {"numpy": "<3"}
    assert "click" in env["packages"]  # type: ignore[operator]
    assert "secret" not in str(head["code/train"].content)
    assert (head.message, head.author, head.parents) == ("bigger batches", repository.actor, ())
    assert len(head.digest) == 64


def test_history_can_be_named_walked_and_blamed(repository: RepositoryHandle) -> None:
    first = put(repository, "first", lr=1, batch=1)
    second = put(repository, "second", lr=2, batch=1)
    with repository.commit("elsewhere") as commit:
        commit["other"] = {"x": 1}
    third = repository["main"]
    repository.tag("v1.0", second)
    for revision, expected in {
        "main": third,
        "main~": second,
        "main~2": first,
        "main^^": first,
        "v1.0": second,
        "v1.0~1": first,
        third.digest: third,
        third.digest[:10].upper(): third,
        third.commit_id: third,
        "main^0": third,
    }.items():
        assert repository[revision] == expected
    assert [each.message for each in repository.log()] == ["elsewhere", "second", "first"]
    assert list(repository.log("main", "config")) == [second, first]
    origins = {each.name: (each.value, each.commit.message) for each in third.blame("config")}
    assert origins == {"batch": (1, "first"), "lr": (2, "second")}
    (found,) = third.diff("main~2", "config")
    assert [(each.name, each.before, each.after) for each in found.parts] == [("lr", 1, 2)]
    assert [each.location for each in third.diff()] == ["other"]
    for wrong in ("main~3", "main^2", "nowhere", "0000beef", f"{'0' * 64}", "v1"):
        with pytest.raises(NotFoundError):
            repository[wrong]
    for wrong in ("", "~1", "main~999999999"):
        with pytest.raises(InvalidArgumentError):
            repository[wrong]


def test_branches_are_merged_forwarded_and_left_alone(repository: RepositoryHandle) -> None:
    put(repository, "first", lr=1, batch=1)
    repository.create_branch("try")
    put(repository, "on try", "try", lr=2, batch=1)
    forwarded = repository.branch("try").merge_into("main")
    assert forwarded == repository["try"] == repository["main"]
    put(repository, "on main", lr=2, batch=9)
    put(repository, "on try again", "try", lr=3, batch=1)
    merged = repository.branch("try").merge_into("main")
    assert settings_of(merged) == {"batch": 9, "lr": 3}
    assert [each.message for each in merged.parents] == ["on main", "on try again"]
    assert merged.message == "Merge branch 'try' into main"
    assert repository.branch("try").merge_into("main") == merged, "it has all of it"
    assert repository.merge("main", "try", fast_forward=False).parents[0].message == "on try again"


def test_a_conflict_is_told_and_can_be_resolved(repository: RepositoryHandle) -> None:
    put(repository, "first", lr=1, batch=1)
    repository.create_branch("try")
    put(repository, "ours", lr=2, batch=1)
    head = put(repository, "ours too", lr=2, batch=5)
    put(repository, "theirs", "try", lr=3, batch=1)
    with pytest.raises(MergeConflictError, match=r"config \(lr\): both changed it") as caught:
        repository.merge("try")
    (conflict,) = caught.value.conflicts
    assert conflict.parts == (("lr",),)  # type: ignore[attr-defined]
    repository.refresh()
    assert repository["main"] == head, "nothing was done"
    with pytest.raises(InvalidArgumentError, match="did not change"):
        repository.merge("try", resolve={"elsewhere": "ours"})
    merged = repository.merge("try", resolve={("config", "lr"): 7})
    assert settings_of(merged) == {"batch": 5, "lr": 7}


def test_histories_that_crossed_are_merged_from_both_common_states(repository: RepositoryHandle) -> None:
    put(repository, "base", a=0, b=0, c=0)
    repository.create_branch("try")
    ours = put(repository, "a", a=1, b=0, c=0)
    theirs = put(repository, "b", "try", a=0, b=1, c=0)
    repository.merge(theirs, "main")
    repository.merge(ours, "try")
    assert set(repository.merge_bases("main", "try")) == {ours, theirs}
    put(repository, "ours goes on", a=2, b=1, c=0)
    put(repository, "theirs goes on", "try", a=1, b=1, c=3)
    # Of either base alone, one of the two changed what the other one had merged.
    assert settings_of(repository.merge("try")) == {"a": 2, "b": 1, "c": 3}


def test_what_crossed_histories_decided_differently_is_a_conflict(repository: RepositoryHandle) -> None:
    put(repository, "base", a=0)
    repository.create_branch("try")
    ours, theirs = put(repository, "a", a=1), put(repository, "b", "try", a=2)
    repository.merge(theirs, "main", favour="ours")
    repository.merge(ours, "try", favour="ours")
    with pytest.raises(MergeConflictError):
        repository.merge("try")
    assert settings_of(repository.merge("try", favour="theirs")) == {"a": 2}


def test_unrelated_histories_are_merged_from_nothing(repository: RepositoryHandle, client: Client) -> None:
    put(repository, "first", a=1)
    repository.branch("main").delete(force=True)
    repository.refresh()
    with repository.commit("another first") as commit:
        commit["config"] = {"b": 2}
    (first,) = (each for each in client.store.find(Query("commit")).entities if each.name == "first")
    assert settings_of(repository.merge(first.entity_id)) == {"a": 1, "b": 2}


def test_a_commit_is_reverted_and_picked(repository: RepositoryHandle) -> None:
    put(repository, "first", a=1, b=1)
    second = put(repository, "second", a=2, b=1)
    put(repository, "third", a=2, b=3)
    reverted = repository.revert(second)
    assert settings_of(reverted) == {"a": 1, "b": 3}
    assert reverted.message.startswith("Revert 'second'")
    with pytest.raises(InvalidArgumentError, match="changes nothing here"):
        repository.revert(second)
    repository.create_branch("try", "main~3")
    with repository.commit("theirs", branch="try", author="Ada") as commit:
        commit["config"] = {"a": 1, "b": 1, "c": 1}
    picked = repository.cherry_pick("try")
    assert (settings_of(picked), picked.author) == ({"a": 1, "b": 3, "c": 1}, "Ada")
    assert picked.authored_at == repository["try"].authored_at
    put(repository, "later", a=1, b=3, c=9)
    with pytest.raises(MergeConflictError):
        repository.revert(picked)
    assert "c" not in settings_of(repository.revert(picked, favour="theirs"))
    merge = repository.merge("try", favour="ours", fast_forward=False)
    with pytest.raises(InvalidArgumentError, match="mainline"):
        repository.revert(merge)
    with pytest.raises(InvalidArgumentError, match="mainline"):
        repository.revert(second, mainline=1)


def test_the_slower_of_two_is_told_who_was_faster_and_can_go_on(repository: RepositoryHandle, client: Client) -> None:
    put(repository, "first", a=1, b=1)
    slow = repository.commit("slow")
    slow["other"] = {"x": 1}
    faster = opened(client)
    put(faster, "faster", a=2, b=1)
    with pytest.raises(BranchMovedError, match=r"'faster'\), made by") as caught:
        slow.save()
    assert caught.value.found == faster["main"].commit_id
    assert "other" not in repository["main"]
    slow.rebase()
    commit = slow.save()
    assert (settings_of(commit), commit.parents[0].message) == ({"a": 2, "b": 1}, "faster")
    with pytest.raises(InvalidArgumentError, match="was made already"):
        slow.save()
    with repository.commit("rebases by itself", rebase=True) as own:
        own["other"] = {"x": 2}
        put(opened(client), "faster again", a=3, b=1)
    assert settings_of(repository["main"]) == {"a": 3, "b": 1}
    with pytest.raises(MergeConflictError), repository.commit("the same", rebase=True) as same:
        same["config"] = {"a": 8, "b": 1}
        put(opened(client), "faster and the same", a=9, b=1)
    for name in ("merged", "branched"):
        repository.refresh()
        repository.create_branch(name)
    stale = opened(client)
    put(repository, "moved", "merged", a=0)
    with pytest.raises(BranchMovedError):
        stale.branch("merged").move("main")
    with pytest.raises(BranchMovedError):
        opened(client, before=lambda: repository.branch("branched").delete()).branch("branched").delete()


def opened(client: Client, before: Any = None) -> RepositoryHandle:
    found = client.repository("churn")
    if before is not None:
        before()
    return found


REFUSED = ["", "a b", "a..b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a@{b",
           "@", "-a", "a.", "a\x7f", "a\nb", "x" * 300, "0" * 64, "0197f3c2-0000-7000-8000-000000000001"]  # fmt: skip


def test_names_that_git_refuses_are_refused(repository: RepositoryHandle) -> None:
    put(repository, "first", a=1)
    for name in REFUSED:
        for make in (
            repository.create_branch,
            repository.tag,
            lambda it: repository.commit("x", branch=it, base="main"),
        ):
            with pytest.raises(InvalidArgumentError):
                make(name)
    repository.refresh()
    assert (list(repository.branches), list(repository.tags)) == (["main"], [])


def test_names_that_git_takes_are_taken(repository: RepositoryHandle) -> None:
    put(repository, "first", a=1)
    for name in ("feature/a.b", "gro\u0308ße", "日本語/枝", "release-1.0", "x" * 256, "a@b", "main2"):
        repository.create_branch(name)
        repository.tag(name)
        assert repository[name] == repository["main"]
        with pytest.raises(AlreadyExistsError):
            repository.create_branch(name)
        with pytest.raises(AlreadyExistsError):
            repository.tag(name)
        repository.branch(name).delete()
        repository.delete_tag(name)
        assert (list(repository.branches), list(repository.tags)) == (["main"], [])
        with pytest.raises(NotFoundError):
            repository.branch(name).delete()
        with pytest.raises(NotFoundError):
            repository.delete_tag(name)


UNFIT: list[tuple[str, Any]] = [
    *((each, {"a": 1}) for each in ("", "/a", "a/", "a//b", "..", "a/../b", ".", "a\\b", "a\0b", "a\nb", "x" * 300, "config/x")),
    *(("a", value) for value in (1, "text", ["list"], None, b"bytes", {1: 2}, {"a": object()}, {"": 1})),
]  # fmt: skip


def test_what_cannot_be_committed_is_refused_and_nothing_is_written(repository: RepositoryHandle) -> None:
    head = put(repository, "first", a=1)
    for location, value in UNFIT:
        with pytest.raises(InvalidArgumentError), repository.commit("wrong") as commit:
            commit["fine"] = {"a": 1}
            commit[location] = value
    repository.refresh()
    assert repository["main"] == head


def test_blobs_of_a_wrong_form_are_refused() -> None:
    for kind, content in (
        ("teapot", {}),
        ("config", {"lr": 1}),
        ("config", {"hyperparameters": [1]}),
        ("config", {"ranges": {"lr": {"begin": 1}}}),
        ("config", {"ranges": {"lr": {"begin": "a", "end": 2}}}),
        ("config", {"sets": {"lr": []}}),
        ("config", {"hyperparameters": {"lr": 1}, "sets": {"lr": [1]}}),
        ("environment", {}),
        ("environment", {"type": "python", "packages": {"numpy": 1}}),
        ("environment", {"type": "docker", "packages": {}}),
        ("environment", {"type": ["python"]}),
        ("code", {"type": "svn"}),
        ("code", {"type": "git", "dirty": "yes"}),
        ("data", {"type": "path", "components": {"a": 1}}),
        ("data", {"type": "path", "tree": "x"}),
    ):
        with pytest.raises(InvalidArgumentError):
            Blob(kind, content)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError):
        Blob("config", [1])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        Blob("data", {"type": "raw"}, "no digest")
    for wrong in ({"lr": 1.0}, {"lr": (1,)}, {"lr": "12"}):
        with pytest.raises(InvalidArgumentError):
            modeldb.configuration(ranges=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        modeldb.docker_environment("python")
    with pytest.raises(InvalidArgumentError):
        modeldb.python_environment(requirements=["==1"])
    with pytest.raises(NotFoundError):
        modeldb.notebook("/nowhere.ipynb")


def test_commits_that_say_or_change_nothing_are_refused(repository: RepositoryHandle) -> None:
    head = put(repository, "first", a=1)
    for message in ("", " \n", "x" * 70_000):
        with pytest.raises(InvalidArgumentError):
            repository.commit(message)
    with pytest.raises(InvalidArgumentError, match="changes nothing"), repository.commit("empty"):
        pass
    with pytest.raises(InvalidArgumentError, match="changes nothing"):
        put(repository, "the same", a=1)
    with pytest.raises(NotFoundError), repository.commit("remove") as commit:
        del commit["nothing"]
    with pytest.raises(NotFoundError):
        repository.commit("x", branch="new")
    with pytest.raises(InvalidArgumentError, match="leave out base"):
        repository.commit("x", base="main")
    with pytest.raises(NotFoundError):
        repository.commit("x", branch="new", base="nowhere")
    with pytest.raises(RuntimeError, match="the program's own"), repository.commit("interrupted") as commit:
        commit["a"] = {"a": 1}
        raise RuntimeError("the program's own")
    repository.refresh()
    assert repository["main"] == head
    with repository.commit("on purpose", allow_empty=True):
        pass
    assert repository["main"].diff() == []


def test_commits_of_another_repository_are_not_found(repository: RepositoryHandle, client: Client) -> None:
    put(repository, "first", a=1)
    other = client.repository("other")
    for revision in (repository["main"].digest, repository["main"].commit_id):
        with pytest.raises(NotFoundError):
            other.create_branch("stolen", revision)
    with pytest.raises(NotFoundError):
        client.repository("nowhere", create=False)
    with pytest.raises(InvalidArgumentError):
        client.repository("x" * 300)


def test_a_deleted_repository_takes_no_commits(repository: RepositoryHandle, client: Client) -> None:
    put(repository, "first", a=1)
    late = repository.commit("late")
    late["x"] = {"a": 1}
    deletion.delete(client, "repository", repository.repository_id, recursive=True)
    client.flush()
    with pytest.raises((ConflictError, modeldb.errors.PreconditionError)):
        late.save()


def test_a_commit_that_something_builds_on_is_not_deleted(repository: RepositoryHandle, client: Client) -> None:
    first, second = put(repository, "first", a=1), put(repository, "second", a=2)
    repository.create_branch("try")
    third = put(repository, "third", "try", a=3)
    for held in (first, second, third):
        with pytest.raises(InvalidArgumentError, match="names it"):
            deletion.delete(client, "commit", held.commit_id)
    repository.branch("try").delete(force=True)
    assert deletion.delete(client, "commit", third.commit_id) == 1
    client.flush()
    with pytest.raises(ConflictError):
        opened(client).create_branch("again", third.commit_id)
    assert deletion.delete(client, "repository", repository.repository_id, recursive=True) == 3


def test_a_run_points_into_a_commit(repository: RepositoryHandle, client: Client) -> None:
    head = put(repository, "first", a=1)
    with client.start_run("churn", commit="churn@main") as run:
        run.log_commit(head, {"settings": "config"})
        with pytest.raises(NotFoundError):
            run.log_commit(head, ["data/train"])
        with pytest.raises(InvalidArgumentError):
            run.log_commit("main")
        with pytest.raises(NotFoundError):
            run.log_commit("churn@nowhere")
    assert run.commits["churn"]["digest"] == head.digest
    assert run.commits["churn"]["locations"] == {"settings": "config"}
    (found,) = client.search_runs(f'commits.churn.digest = "{head.digest}"')
    assert found.run_id == run.run_id
    linked = client.store.find(Query("run", linked=Linked("commit", head.commit_id))).entities
    assert [each.entity_id for each in linked] == [run.run_id]


def test_an_entry_of_a_stranger_is_read_as_what_it_is_not(repository: RepositoryHandle) -> None:
    head = put(repository, "first", a=1)
    reader = repository.reader
    for entry in (
        {"kind": "teapot", "content": {}},
        {"content": {}},
        {"kind": "config", "digest": "0" * 64},
        {"kind": "config", "content": 1},
        {"kind": "config", "digest": "0" * 64, "size_bytes": 1 << 50},
    ):
        tree = reader.tree(head.entity).tree.edit({"strange": entry})
        with pytest.raises(IntegrityError):
            reader.read(tree.get("strange"))
