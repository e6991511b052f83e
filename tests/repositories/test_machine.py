"""A whole repository, held against a simple model: commits as maps in memory, merged by going over every location."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.commands.declaring import declare
from modeldb_core.commands.operation import execute
from modeldb_core.errors import InvalidArgumentError, MergeConflictError
from modeldb_core.model.entities import Repository, new_id
from modeldb_core.repositories.blobs import from_entry
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking.repositories.commits import CommitHandle
from modeldb_core.tracking.repositories.repository import RepositoryHandle

Content = dict[str, dict[str, int]]
UNDECIDED: Any = object()
LOCATIONS, KEYS, BRANCHES = ("a", "b", "c/d"), ("x", "y"), ("main", "try", "other")
_numbers = itertools.count()


@dataclass
class Model:
    """A commit of the model: its number counts up, so those before it have smaller ones."""

    number: int
    content: Content
    parents: tuple[Model, ...] = ()

    def before(self) -> set[int]:
        return {self.number}.union(*(each.before() for each in self.parents))

    def all(self) -> dict[int, Model]:
        found = {self.number: self}
        for each in self.parents:
            found |= each.all()
        return found


def merge_bases(ours: list[Model], theirs: list[Model]) -> list[Model]:
    known = {number: each for head in ours + theirs for number, each in head.all().items()}
    common = set().union(*(each.before() for each in ours)) & set().union(*(each.before() for each in theirs))
    best = [each for each in common if not any(each in known[two].before() for two in common - {each})]
    return [known[number] for number in sorted(best, reverse=True)]


def common_state(ours: list[Model], theirs: list[Model]) -> dict[str, Any]:
    bases = merge_bases(ours, theirs)
    state: dict[str, Any] = dict(bases[0].content) if bases else {}
    for count, other in enumerate(bases[1:], start=1):
        state, undecided = merge(common_state(bases[:count], [other]), state, other.content, "")
        state |= dict.fromkeys(undecided, UNDECIDED)
    return state


def merge(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], favour: str
) -> tuple[dict[str, Any], set[str]]:
    """Merge maps by going over every location and key."""
    result, conflicts = dict(ours), set()
    for location in LOCATIONS:
        was, mine, yours = base.get(location), ours.get(location), theirs.get(location)
        if UNDECIDED in (mine, yours):
            conflicts.add(location)
        elif mine == yours or yours == was:
            continue
        elif mine == was:
            result[location] = yours
        elif mine is None or yours is None:
            if not favour:
                conflicts.add(location)
            elif favour == "theirs":
                result[location] = yours
        else:
            known = {} if was is None or was is UNDECIDED else was
            result[location] = {}
            for key in KEYS:
                three = (known.get(key), mine.get(key), yours.get(key))
                if three[1] == three[2] or three[2] == three[0]:
                    value = three[1]
                elif three[1] == three[0] or favour == "theirs":
                    value = three[2]
                else:
                    value = three[1]
                    if not favour:
                        conflicts.add(location)
                if value is not None:
                    result[location][key] = value
    return {location: value for location, value in result.items() if value is not None}, conflicts


class RepositoryMachine(RuleBasedStateMachine):
    """Does to a repository and to the model what hypothesis chooses."""

    @initialize()
    def open(self) -> None:
        self.store = MemoryStore()
        self.artifacts = FsspecArtifactStore(f"memory://machine-{next(_numbers)}")
        repository_id = new_id()
        execute(DirectWriter(self.store, "ada"), declare("repository", repository_id, "churn"))
        entity = self.store.get("repository", repository_id)
        assert isinstance(entity, Repository)
        self.repository = RepositoryHandle(self.store, self.artifacts, entity, "ada")
        self.models: dict[str, Model] = {}
        """By the digest of a commit."""
        self.branches: dict[str, str] = {}
        self.number = 0
        self.made("main", {"a": {"x": 0}}, ())

    def made(
        self, branch: str, content: Content, parents: tuple[Model, ...], commit: CommitHandle | None = None
    ) -> None:
        if commit is None:
            with self.repository.commit(f"commit {self.number}", branch=branch) as draft:
                for location in LOCATIONS:
                    if location in content:
                        draft[location] = content[location]
                    elif location in draft:
                        del draft[location]
            commit = draft.commit
        assert commit is not None
        self.number += 1
        self.models[commit.digest] = Model(self.number, content, parents)
        self.branches[branch] = commit.digest

    def head(self, branch: str) -> Model:
        return self.models[self.branches[branch]]

    @rule(
        branch=st.sampled_from(BRANCHES),
        location=st.sampled_from(LOCATIONS),
        key=st.sampled_from(KEYS),
        value=st.integers(0, 2),
    )
    def edit(self, branch: str, location: str, key: str, value: int) -> None:
        if branch in self.branches:
            content = self.head(branch).content
            new = {**content, location: {**content.get(location, {}), key: value}}
            if new != content:
                self.made(branch, new, (self.head(branch),))

    @rule(branch=st.sampled_from(BRANCHES), location=st.sampled_from(LOCATIONS))
    def remove(self, branch: str, location: str) -> None:
        if branch in self.branches and location in (content := self.head(branch).content):
            self.made(
                branch, {each: value for each, value in content.items() if each != location}, (self.head(branch),)
            )

    @rule(branch=st.sampled_from(BRANCHES), source=st.sampled_from(BRANCHES))
    def branch(self, branch: str, source: str) -> None:
        if branch not in self.branches and source in self.branches:
            self.repository.create_branch(branch, source)
            self.branches[branch] = self.branches[source]

    @rule(
        into=st.sampled_from(BRANCHES),
        source=st.sampled_from(BRANCHES),
        favour=st.sampled_from(("", "", "ours", "theirs")),
    )
    def merge(self, into: str, source: str, favour: str) -> None:
        if into in self.branches and source in self.branches:
            self.merged(into, self.branches[source], favour)

    @rule(one=st.sampled_from(BRANCHES), other=st.sampled_from(BRANCHES), favour=st.sampled_from(("ours", "theirs")))
    def cross(self, one: str, other: str, favour: str) -> None:
        """Merge each of two branches into the other as it was."""
        if one != other and one in self.branches and other in self.branches:
            heads = self.branches[one], self.branches[other]
            self.merged(one, heads[1], favour)
            self.merged(other, heads[0], favour)

    def merged(self, into: str, digest: str, favour: str) -> None:
        ours, theirs = self.head(into), self.models[digest]
        if theirs.number in ours.before():
            assert self.repository.merge(digest, into).digest == self.branches[into]
        elif ours.number in theirs.before():
            assert self.repository.merge(digest, into).digest == digest
            self.branches[into] = digest
        else:
            content, conflicts = merge(common_state([ours], [theirs]), ours.content, theirs.content, favour)
            try:
                merged = self.repository.merge(digest, into, favour=favour)
            except MergeConflictError as error:
                assert {each.location for each in error.conflicts} == conflicts  # type: ignore[attr-defined]
            else:
                assert not conflicts
                self.made(into, content, (ours, theirs), merged)

    @precondition(lambda self: len(self.models) > 1)
    @rule(branch=st.sampled_from(BRANCHES), data=st.data(), reverts=st.booleans())
    def take_back_or_pick(self, branch: str, data: st.DataObject, reverts: bool) -> None:
        if branch not in self.branches:
            return
        numbers = {model.number: each for each, model in self.models.items() if len(model.parents) == 1}
        if not numbers:
            return
        digest = numbers[data.draw(st.sampled_from(sorted(numbers)))]
        model, ours = self.models[digest], self.head(branch)
        states = (model.content, model.parents[0].content) if reverts else (model.parents[0].content, model.content)
        content, conflicts = merge(states[0], ours.content, states[1], "")
        try:
            commit = (self.repository.revert if reverts else self.repository.cherry_pick)(digest, branch)
        except MergeConflictError as error:
            assert {each.location for each in error.conflicts} == conflicts  # type: ignore[attr-defined]
        except InvalidArgumentError:
            assert content == ours.content
            assert not conflicts
        else:
            assert not conflicts
            self.made(branch, content, (ours,), commit)

    @rule(branch=st.sampled_from(BRANCHES[1:]))
    def delete(self, branch: str) -> None:
        if branch in self.branches:
            self.repository.branch(branch).delete(force=True)
            del self.branches[branch]

    @invariant()
    def is_what_the_model_says(self) -> None:
        if not hasattr(self, "repository"):
            return
        self.repository.refresh()
        assert {name: each.head.digest for name, each in self.repository.branches.items()} == self.branches
        for name, digest in self.branches.items():
            head, model = self.repository[name], self.models[digest]
            found = {
                location: dict(from_entry(entry, self.artifacts.open).content.get("hyperparameters", {}))  # type: ignore[call-overload]
                for location, entry in head.reader.tree(head.entity).tree.items()
            }
            assert found == model.content
            assert {each.digest for each in head.log()} == {
                each for each, one in self.models.items() if one.number in model.before()
            }


RepositoryMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_a_repository_is_what_a_simple_model_says = RepositoryMachine.TestCase
