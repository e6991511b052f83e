"""Stores that part, decide differently, and are merged: branches, tags, stages and aliases."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest

from modeldb_core.audit import verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.backends.sqlite import SQLiteStore
from modeldb_core.cli import program
from modeldb_core.commands import commits
from modeldb_core.commands.operation import execute
from modeldb_core.commands.registry import history, promotion
from modeldb_core.log.changes import CREATE
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import Repository, new_id
from modeldb_core.model.registry import ModelVersion, RegisteredModel
from modeldb_core.movement.copying import copy
from modeldb_core.repositories.reading import RepositoryReader
from modeldb_core.stores.clashes import clashes
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking.repositories.repository import RepositoryHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modeldb_core.stores import MetadataStore

MODEL, REPOSITORY, VERSIONS = new_id(), new_id(), [new_id() for _ in range(5)]


def base(store: MetadataStore) -> MetadataStore:
    """Give a store a model of five versions, the first in production, and a repository with a branch."""
    writer = DirectWriter(store, "ada")
    made = {"name": "churn", "last_version": len(VERSIONS)}
    writer.apply([Entry(CREATE, "registered_model", MODEL, made)])
    for number, version in enumerate(VERSIONS, 1):
        document = {"registered_model_id": MODEL, "version": number, "name": f"v{number}", "stage": "development"}
        writer.apply([Entry(CREATE, "model_version", version, document)])
    promote(store, 1, stage="production", alias="champion")
    return store


def model(store: MetadataStore) -> RegisteredModel:
    return cast("RegisteredModel", store.get("registered_model", MODEL))


def version(store: MetadataStore, number: int) -> ModelVersion:
    return cast("ModelVersion", store.get("model_version", VERSIONS[number - 1]))


def promote(store: MetadataStore, number: int, **to: str) -> None:
    operation = promotion.promote(store, model(store), version(store, number), reason=f"v{number} it is", **to)
    execute(DirectWriter(store, "ada"), operation)


def parted(*histories: Callable[[MetadataStore], object]) -> list[MetadataStore]:
    """Return copies of one store, each with a history of its own since; the first one decides first."""
    common = base(MemoryStore())
    stores: list[MetadataStore] = []
    for history_of in histories:
        stores.append(MemoryStore())
        copy(common, stores[-1])
        history_of(stores[-1])
    return stores


def merged(stores: Sequence[MetadataStore]) -> MetadataStore:
    target = MemoryStore()
    for store in stores:
        assert copy(store, target).ok
    return target


def documents(store: MetadataStore) -> dict[str, Any]:
    return {each.entity_id: dict(each.document) for each in (model(store), *(version(store, n) for n in range(1, 6)))}


def same_in_every_order(stores: Sequence[MetadataStore]) -> MetadataStore:
    """Merge stores in every order; return one that holds all of them."""
    results = [merged(each) for each in itertools.permutations(stores)]
    for other in results[1:]:
        assert documents(other) == documents(results[0])
    # And those who exchange what they have agree as well.
    for one, other in itertools.permutations(stores, 2):
        copy(one, other)
    for one, other in itertools.permutations(stores, 2):
        copy(one, other)
    assert all(documents(store) == documents(results[0]) for store in stores)
    return results[0]


def test_two_stores_that_promoted_different_versions_end_up_with_the_later_one_whichever_is_copied_first() -> None:
    store = same_in_every_order(
        parted(
            lambda one: promote(one, 2, stage="production", alias="champion"),
            lambda other: promote(other, 3, stage="production", alias="champion"),
        )
    )
    found = model(store)
    assert found.stages == {"production": VERSIONS[2]}
    assert found.aliases == {"champion": VERSIONS[2]}
    assert [(each["field"], each["key"], each["value"]) for each in found.clashes.values()] == [
        ("aliases", "champion", VERSIONS[1]),
        ("stages", "production", VERSIONS[1]),
    ]
    told = list(clashes(store))
    assert len(told) == 2
    assert f"aliases 'champion' is {VERSIONS[2]}, and another store decided {VERSIONS[1]}" in told[0]
    reasons = [move.reason for move in history.history(store, MODEL)]
    assert sorted(reasons) == ["v1 it is", "v2 it is", "v3 it is"], "both histories stay"
    report = verify(store)
    assert report.ok
    assert report.clashes == told
    assert "NOTE registered model 'churn'" in str(report)


def test_who_decides_again_has_seen_both_and_settles_it() -> None:
    store = same_in_every_order(
        parted(
            lambda one: promote(one, 2, stage="production", alias="champion"),
            lambda other: promote(other, 3, stage="production", alias="champion"),
        )
    )
    promote(store, 3, stage="production", alias="champion")  # the one that is there: that is a decision as well
    assert model(store).clashes == {}
    assert list(clashes(store)) == []
    assert version(store, 2).stage == "archived", "one version has the stage to itself again"
    assert version(store, 3).stage == "production"
    assert verify(store).clashes == []


def test_histories_of_several_moves_and_of_three_stores_end_the_same_in_every_order() -> None:
    def first(store: MetadataStore) -> None:
        promote(store, 2, stage="production")
        promote(store, 4, stage="production", alias="champion")

    def second(store: MetadataStore) -> None:
        promote(store, 3, stage="production")
        promote(store, 3, stage="archived")
        promote(store, 5, stage="staging", alias="champion")

    def third(store: MetadataStore) -> None:
        promote(store, 1, stage="archived")
        execute(
            DirectWriter(store, "ada"),
            promotion.remove_alias(model(store), "champion", reason="nobody is"),
        )

    store = same_in_every_order(parted(first, second, third))
    found = model(store)
    assert "champion" not in found.aliases, "it was taken away last"
    values = {(each["field"], each["key"], each["value"]) for each in found.clashes.values()}
    assert {("aliases", "champion", VERSIONS[3]), ("aliases", "champion", VERSIONS[4])} <= values
    assert ("stages", "production", VERSIONS[1]) not in values, "who was followed in its own store clashes with nobody"


def test_one_version_that_went_to_two_stages_says_so() -> None:
    store = same_in_every_order(
        parted(lambda one: promote(one, 2, stage="production"), lambda other: promote(other, 2, stage="staging"))
    )
    assert version(store, 2).stage == "staging"
    assert [each["value"] for each in version(store, 2).clashes.values()] == ["production"]
    assert list(clashes(store))
    promote(store, 2, stage="staging")
    assert model(store).stages == {"staging": VERSIONS[1]}
    assert list(clashes(store)) == []


def test_stores_that_decided_the_same_do_not_clash() -> None:
    store = same_in_every_order(
        parted(lambda one: promote(one, 2, stage="production"), lambda other: promote(other, 2, stage="production"))
    )
    assert model(store).stages == {"production": VERSIONS[1]}
    assert not any(verify(store).clashes)


def test_a_decision_never_loses_to_one_that_it_has_seen_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = base(MemoryStore())
    promote(store, 2, stage="production")
    now = model(store).updated_at
    assert now is not None
    for module in ("modeldb_core.stores.direct", "modeldb_core.log.stream"):
        monkeypatch.setattr(f"{module}.now_us", lambda: 1_000_000, raising=False)  # a machine in 1970
    promote(store, 3, stage="production")
    assert any(change.recorded_at == 1_000_000 for change in store.read_changes(entity_id=MODEL).changes)
    assert model(store).stages == {"production": VERSIONS[2]}
    assert verify(store).clashes == []


def test_changes_count_the_same_in_whatever_order_their_streams_arrive() -> None:
    def first(store: MetadataStore) -> None:
        for number in (2, 3, 4):  # each a stream of its own, that has seen the one before
            promote(store, number, stage="production")

    stores = parted(first, lambda other: promote(other, 5, stage="production", alias="champion"))
    common = [each for each in stores[0].heads() if each in stores[1].heads()]
    rest = [each for store in stores for each in store.heads() if each not in common]
    whole = merged(stores)
    expected = documents(whole)
    assert len(rest) == 4
    for each in itertools.permutations(rest):
        store = MemoryStore()
        for stream_id in (*common, *each):
            store.apply(whole.read_changes(stream_id=stream_id, limit=100).changes)
        found = model(store)
        assert found.stages == expected[MODEL]["stages"]
        assert found.clashes == expected[MODEL]["clashes"]


def test_two_stores_that_moved_a_branch_keep_both_commits_in_sight(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = FsspecArtifactStore(f"file://{tmp_path}/files")
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other", "both", "again")]
    with SQLiteStore(urls[0]) as one, SQLiteStore(urls[1]) as other:
        DirectWriter(one, "ada").apply([Entry(CREATE, "repository", REPOSITORY, {"name": "churn"})])
        add(one, files, "base", {"lr": 1})
        assert copy(one, other).ok
        add(one, files, "one's", {"lr": 2})
        commits_tag(one, files, "best")
        add(other, files, "other's", {"lr": 3})
        commits_tag(other, files, "best")
        heads = [repository(store).branches["main"] for store in (one, other)]
    for url, order in ((urls[2], urls[:2]), (urls[3], urls[1::-1])):
        for source in order:
            assert program.run(["copy", source, url, "--no-artifacts"]) == 0
        err = capsys.readouterr().err
        assert f"branches 'main' is {heads[1]}, and another store decided {heads[0]}" in err
        assert err.count("commit_tags 'best'") == 1
    with SQLiteStore(urls[2]) as both, SQLiteStore(urls[3]) as again:
        assert repository(both).document == repository(again).document
        assert repository(both).branches == {"main": heads[1]}
        found = repository(both).clashes.values()
        assert {(each["key"], each["value"]) for each in found} == {("main", heads[0]), ("best", heads[0])}
        handle = RepositoryHandle(both, files, repository(both), "ada")
        lost = handle[handle.reader.history.commit(heads[0]).digest[:12]]
        with handle.commit("both", branch="main") as commit:
            commit["env"] = {"seen": lost.digest}
        left = {each["key"] for each in repository(both).clashes.values()}
        assert left == {"best"}, "who builds on the branch has seen both"
        assert verify(both).ok


def repository(store: MetadataStore) -> Repository:
    return cast("Repository", store.get("repository", REPOSITORY))


def add(store: MetadataStore, files: FsspecArtifactStore, message: str, config: dict[str, Any]) -> None:
    with RepositoryHandle(store, files, repository(store), "ada").commit(message) as commit:
        commit["config"] = config


def commits_tag(store: MetadataStore, files: FsspecArtifactStore, name: str) -> None:
    reader = RepositoryReader(store, files, repository(store))
    operation = commits.create_tag(reader, name, commits.head_of(reader, "main"))
    commits.carry_out(reader, operation, lambda each: execute(DirectWriter(store, "ada"), each))
