"""Two workspaces in one store: whoever may see one of them is told nothing of the other, by whatever they ask."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldb_core.audit import Checkpoint, verify
from modeldb_core.backends.blobs import FsspecArtifactStore
from modeldb_core.backends.memory import MemoryStore
from modeldb_core.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    ModelDBError,
    PermissionDeniedError,
    QueryUnsupportedError,
)
from modeldb_core.log.changes import GENESIS, STREAM, verify_change
from modeldb_core.log.conditions import Absent, RevisionIs, Unique, Unset, ValueIs
from modeldb_core.log.plots import Canvas
from modeldb_core.model.entities import Entity, derived_id, new_id
from modeldb_core.model.schema import KINDS
from modeldb_core.movement.collection import Collected, remove_blobs
from modeldb_core.movement.copying import copy
from modeldb_core.plugins import open_store
from modeldb_core.queries import Linked, Query, condition
from modeldb_core.stores import MetadataStore
from modeldb_core.stores.scoped import Scope, ScopedStore
from modeldb_core.testing import StreamWriter
from tests.services.server import serving

SECRET = "clandestine"
"""Stands in every text of the workspace that is not to be seen."""
STORES = (
    *("memory", "sqlite", "postgres", "http"),
    pytest.param("bucket", marks=pytest.mark.thorough),  # its answers come from a replica in SQLite
)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MetadataStore]:
    kind = request.param
    urls = {"memory": "memory://", "bucket": f"file://{tmp_path}/bucket", "http": f"sqlite:///{tmp_path}/served.db"}
    url = (
        request.getfixturevalue("postgres_url") if kind == "postgres" else urls.get(kind, f"sqlite:///{tmp_path}/m.db")
    )
    with open_store(url) as opened:
        if kind != "http":
            yield opened
            return
        files = FsspecArtifactStore(f"file://{tmp_path}/blobs")
        with serving(opened, files) as url, open_store(url) as remote:
            yield remote
        files.close()


class Workspace:
    """A workspace with everything in it, all of whose texts hold one word; written by a stream of its own."""

    def __init__(self, word: str, other_run: str = "") -> None:
        self.word = word
        self.writer = writer = StreamWriter(actor=f"{word} actor")
        writer.open(lease_s=3600)
        self.name = f"{word} workspace"
        ids = writer.create_containers(f"{word} project", f"{word} experiment", self.name)
        self.workspace = derived_id("workspace", "", self.name)
        self.project, self.experiment = ids["project_id"], ids["experiment_id"]
        fields = {f"{word} key": f"{word} value"}
        self.run = writer.create_run(**ids, name=f"{word} run", tags=[f"{word} tag"], hyperparameters=fields).entity_id
        self.child = writer.create_run(**ids, name=f"{word} child", parent_id=self.run).entity_id
        writer.append(self.run, {f"{word} loss": [3.0, 2.0]})
        self.comment = writer.create("comment", parent_id=self.run, message=f"{word} remark").entity_id
        self.dataset = writer.create("dataset", name=f"{word} data", workspace_id=self.workspace).entity_id
        self.version = writer.create("dataset_version", name=f"{word} v1", dataset_id=self.dataset).entity_id
        self.model = writer.create("registered_model", name=f"{word} model", workspace_id=self.workspace).entity_id
        # It names a run of the other workspace: a link that leads out of the one and into the other.
        named = other_run or self.run
        self.promoted = writer.create(
            "model_version", registered_model_id=self.model, version=1, run_id=named
        ).entity_id
        used = {"train": {"dataset_id": self.dataset, "dataset_version_id": self.version}}
        writer.update("run", self.run, put={"datasets": used})
        self.deleted = writer.create_run(**ids, name=f"{word} deleted").entity_id
        writer.delete("run", self.deleted)
        self.gone = new_id()
        if other_run:
            made = writer.create_run(**ids, name=f"{word} gone")
            self.gone = made.entity_id
            writer.delete("run", self.gone, window_s=0)
            writer.erase(made)

    @property
    def names(self) -> dict[str, str]:
        """The identifiers of one entity of each kind, by kind."""
        return {
            "workspace": self.workspace,
            "project": self.project,
            "experiment": self.experiment,
            "run": self.run,
            "comment": self.comment,
            "dataset": self.dataset,
            "dataset_version": self.version,
            "registered_model": self.model,
            "model_version": self.promoted,
        }


def outcome(ask: Callable[[], object]) -> str:
    """Return what comes of a question, whatever it is."""
    try:
        answer = ask()
    except ModelDBError as error:
        return f"{type(error).__name__}: {error} {getattr(error, 'found', '')} {getattr(error, 'condition', '')}"
    with np.printoptions(threshold=100_000):
        return repr(_plain(answer))


def _plain(answer: object) -> object:
    if isinstance(answer, Entity):
        return answer, dict(answer.document)
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return [(each.name, _plain(getattr(answer, each.name))) for each in dataclasses.fields(answer)]
    if isinstance(answer, (list, tuple)):
        return [_plain(each) for each in answer]
    return answer


def questions(seen: Workspace, other: Workspace) -> dict[str, list[Callable[[ScopedStore], object]]]:
    """Return, by each name of the contract, what may be asked so that something of ``other`` could come out."""
    queries = [Query(kind, count=True, limit=1, include_deleted=True) for kind in KINDS]
    queries += [Query(kind, within=(seen.project, other.workspace, other.run), count=True, fields=()) for kind in KINDS]
    queries += [Query(kind, offset=1, limit=1, order_by="entity_id", count=True) for kind in ("run", "project")]
    queries += [
        Query(filter=text, count=True)
        for text in (
            condition("project = ?", f"{other.word} project"),
            condition("workspace_id = ? or project_id = ?", other.workspace, other.project),
            condition("tags contains ?", f"{other.word} tag"),
            condition("name = ? or entity_id = ?", "x", other.run),
            'name = "x") or (name != "y"',
            "metrics.loss >",
        )
    ]
    queries += [
        Query(kind, count=True, include_deleted=True, linked=Linked(*name, direction=direction, depth=depth))  # type: ignore[arg-type]
        for kind in ("run", "model_version", "comment")
        for name in (("run", seen.run), ("run", other.run))
        for direction in ("to", "from")
        for depth in (1, 4)
    ]
    grouped = ("project_id", "status", f'hyperparameters."{other.word} key"', "parent_id")
    asked: dict[str, list[Callable[[ScopedStore], object]]] = {
        "get": [
            lambda s, n=name: s.get(*n)
            for name in [*other.names.items(), ("run", other.deleted), ("run", other.gone), *seen.names.items()]
        ],
        "find": [lambda s, q=query: s.find(q) for query in queries],
        "find_keys": [lambda s, q=query: s.find_keys(q) for query in queries[::5]],
        "find_groups": [
            *(lambda s, q=query: s.find_groups(q, "name") for query in queries[::5]),
            *(lambda s, b=by: s.find_groups(Query(), b, (f'metrics."{other.word} loss"',)) for by in grouped),
        ],
        "identify": [
            lambda s: s.identify(("workspace", other.name), ("project", f"{other.word} project")),
            lambda s: s.identify(("workspace", seen.name), ("project", f"{seen.word} project")),
        ],
        "find_few": [
            lambda s, w=each: s.find_few("project", "workspace_id", w.workspace, most=9) for each in (seen, other)
        ],
        "write_mark": [lambda s: s.write_mark()],
        "check_usable": [lambda s: s.check_usable(), lambda s: s.check_usable(to_write=True)],
        "read_series": [
            lambda s: s.read_series(other.run, f"{other.word} loss"),
            lambda s: s.read_series(seen.run, f"{seen.word} loss", steps=(0, 9), max_points=2),
            lambda s: s.read_series(seen.run, "none"),
        ],
        "plot_series": [
            lambda s: s.plot_series(other.run, f"{other.word} loss", Canvas(columns=2)),
            lambda s: s.plot_series(seen.run, f"{seen.word} loss", Canvas(columns=1, first=0)),
            lambda s: s.plot_series(seen.run, "none", Canvas(columns=2)),
        ],
        "read_changes": [
            lambda s: s.read_changes(),
            lambda s: s.read_changes(limit=2),
            lambda s: s.read_changes(after=3, limit=2),
            lambda s: s.read_changes(after=10_000),
            lambda s: s.read_changes(stream_id=other.writer.stream_id),
            *(
                lambda s, i=each: s.read_changes(entity_id=i)
                for each in (*other.names.values(), other.writer.stream_id)
            ),
            lambda s: s.read_changes(entity_id=seen.run),
        ],
        "read_touches": [
            lambda s: s.read_touches(),
            lambda s: s.read_touches(after=3, limit=2),
            lambda s: s.read_touches(after=10_000),
        ],
        "end_of_log": [lambda s: s.end_of_log()],
        "heads": [lambda s: sorted(s.heads().items())],
        "heads_after": [
            lambda s: list(s.heads_after("", 10).items()),
            lambda s: list(s.heads_after(min(s.heads(), default=""), 1).items()),
        ],
        "head": [lambda s, i=each.writer.stream_id: s.head(i) for each in (seen, other)],
        "carries": [lambda s: s.carries()],
        "refresh_rows": [lambda s: s.refresh_rows()],
        "prepare_to_write": [lambda s: s.prepare_to_write()],
        "apply": [lambda s, a=attempt: _attempt(s, *a) for attempt in attempts(seen, other)],
    }
    for name in ("url", "is_local", "is_partial", "user", "decides", "understands"):
        asked[name] = [lambda s, n=name: getattr(s, n)]
    asked["close"] = [lambda s: s.close()]
    return asked


Write = Callable[[StreamWriter], object]


def attempts(seen: Workspace, other: Workspace) -> list[tuple[Write, tuple[Any, ...]]]:
    """Return what may be tried to write, with conditions, to hurt the other workspace or to learn of it."""
    there: dict[str, Any] = {"project_id": other.project, "experiment_id": other.experiment}
    writes: list[Write] = [
        lambda w: w.update("run", other.run, set={"name": "mine"}),
        lambda w: w.append(other.run, {"loss": [1.0]}),
        lambda w: w.delete("project", other.project),
        lambda w: w.restore("run", other.deleted),
        lambda w: w.create_run(**there),
        lambda w: w.create_run(project_id=seen.project, experiment_id=other.experiment),
        lambda w: w.create("comment", parent_id=other.run, message="hello"),
        lambda w: w.create("workspace", other.workspace, name=other.name),
        lambda w: w.create("workspace", name="another"),
        lambda w: w.create("project", name="nowhere"),
        lambda w: w.create("user", name="me"),
        lambda w: w.create("rocket", name="unknown"),
        lambda w: w.update("run", seen.run, set={"experiment_id": other.experiment}),
        lambda w: w.update("project", seen.project, set={"workspace_id": other.workspace}),
        lambda w: w.update("project", seen.project, set={"workspace_id": None}),
        lambda w: w.update("comment", seen.comment, put={"parent_id": {"x": "y"}}),
        lambda w: w.erase(other.writer.changes[5]),
    ]
    own: Write = lambda w: w.update("run", seen.run, add={"tags": ["again"]})  # noqa: E731
    conditions: list[Any] = [
        *(Absent(*name) for name in other.names.items()),
        RevisionIs("run", other.run, 1),
        ValueIs("run", other.run, "name", f"{other.word} run"),
        Unset("run", other.run, "name"),
        Unset("run", other.run, "hyperparameters", f"{other.word} key"),
        Unique("workspace", "", "name", other.name),
        Unique("project", other.workspace, "name", f"{other.word} project"),
        Unique("model_version", other.model, "version", 1),
        Unique("project", seen.workspace, "name", f"{seen.word} project"),
        RevisionIs("run", seen.child, 99_999),
    ]
    return [*((write, ()) for write in writes), *((own, (each,)) for each in conditions)]


def _attempt(store: ScopedStore, write: Write, expect: tuple[Any, ...]) -> str:
    writer = StreamWriter(at=1_700_000_000_000_000)
    writer.open()
    if write is not None:
        write(writer)
    try:
        store.apply(writer.changes, expect=expect if store.decides else ())
    except ModelDBError as error:
        # Identifiers that were made for the attempt differ each time.
        words = str(error).replace(writer.changes[-1].entity_id, "NEW").replace(writer.stream_id, "STREAM")
        return f"{type(error).__name__}: {words} {getattr(error, 'found', '')}"
    return "applied"


def test_every_name_of_the_contract_is_narrowed() -> None:
    """A method that is added to the contract is not passed on by itself: somebody must say what it tells."""
    public = {name for name in dir(MetadataStore) if not name.startswith("_")} | set(MetadataStore.__annotations__)
    assert public == set(questions(Workspace("a"), Workspace("b"))), "ask something of what is new, too"
    assert public <= set(vars(ScopedStore))
    known = {"kind", "filter", "order_by", "fields", "limit", "cursor", "offset", "count", "within"}
    known |= {"include_deleted", "linked"}
    assert {each.name for each in dataclasses.fields(Query)} <= known, (
        "narrow what is new in a query, and ask by it below"
    )


def ask_all(store: ScopedStore, asked: dict[str, list[Callable[[ScopedStore], object]]]) -> dict[str, list[str]]:
    return {name: [outcome(lambda ask=ask: ask(store)) for ask in asks] for name, asks in asked.items()}


def test_nothing_of_another_workspace_shows_by_whatever_is_asked(store: MetadataStore) -> None:
    seen = Workspace("open")
    other = Workspace(SECRET, seen.run)
    store.apply(seen.writer.changes)
    scope = Scope(frozenset({seen.workspace}))
    scoped = ScopedStore(store, scope)
    asked = questions(seen, other)
    writing = {"apply": asked.pop("apply")}
    refused = ask_all(scoped, writing)
    before = ask_all(scoped, asked)
    store.apply(other.writer.changes)  # and this is what nobody may notice
    for name, answers in ask_all(scoped, asked).items():
        assert answers == before[name], name
    log = {"read_changes": asked["read_changes"], "heads": asked["heads"]}
    assert ask_all(ScopedStore(store, scope), log) == {name: before[name] for name in log}
    heads = store.heads()
    for one, answer in zip(refused["apply"], ask_all(scoped, writing)["apply"], strict=True):
        assert answer == one
    assert {name: store.heads()[name] for name in heads} == heads
    assert store.get("run", other.run).name == f"{SECRET} run"
    assert len(before["find"]) > 50
    assert sum("PermissionDenied" in each for each in refused["apply"]) == 17
    taking = [  # what somebody who knows an identifier may still try
        lambda w: w.create("run", other.run, project_id=seen.project, experiment_id=seen.experiment),
        lambda w: w.create_run(project_id=seen.project, experiment_id=seen.experiment, parent_id=other.run),
        lambda w: w.create("comment", other.run, parent_id=seen.run, message="whose comments would be drawn here"),
        lambda w: w.create("run", other.gone, project_id=seen.project, experiment_id=seen.experiment),
    ]
    for write in taking:
        assert "PermissionDenied" in _attempt(scoped, write, ())


def test_a_stream_that_is_shared_comes_whole_with_what_it_says_of_others_withheld(
    store: MetadataStore, tmp_path: Path
) -> None:
    seen = Workspace("open")
    store.apply(seen.writer.changes)
    other = Workspace(SECRET, seen.run)
    scoped = ScopedStore(store, Scope(frozenset({seen.workspace})))
    assert set(scoped.heads()) == {seen.writer.stream_id}
    assert scoped.head(seen.writer.stream_id).seq == len(seen.writer.changes)
    writer = StreamWriter(actor="both")
    assert scoped.head("nowhere").seq == 0
    writer.open(lease_s=3600)
    ids = writer.create_containers(f"{SECRET} project", "experiment", other.name)
    lost = writer.create_run(**ids, name=f"{SECRET} erased")
    writer.erase(lost)
    store.apply(writer.changes)
    assert set(scoped.heads()) == {seen.writer.stream_id}  # it says nothing of what is seen, yet
    writer.create_run(project_id=seen.project, experiment_id=seen.experiment, name="mine")
    writer.create_run(**ids, name=f"{SECRET} run")
    store.apply(writer.changes[len(writer.changes) - 2 :])
    store.apply(other.writer.changes)

    page = scoped.read_changes()
    theirs = [change for change in page.changes if change.stream_id == writer.stream_id]
    assert [change.seq for change in theirs] == [change.seq for change in writer.changes]
    previous = GENESIS
    for change in theirs:
        verify_change(change, previous, may_be_withheld=True)
        previous = change.hash
        assert change.withheld == (change.kind != STREAM and change.seq != len(writer.changes) - 1)
        assert (change.payload is None) == change.withheld
    assert scoped.heads() == {name: store.heads()[name] for name in (seen.writer.stream_id, writer.stream_id)}
    assert SECRET.encode() not in b"".join(change.payload or b"" for change in page.changes)
    assert scoped.read_changes(stream_id=writer.stream_id).changes == tuple(theirs)
    assert not scoped.read_changes(entity_id=lost.entity_id).changes
    assert scoped.read_changes(after=page.cursor).changes == ()
    assert scoped.end_of_log() == page.cursor

    checkpoint = Checkpoint.of(scoped)
    report = verify(scoped, checkpoint=checkpoint)
    assert report.ok, report
    assert (report.withheld, report.erased) == (len(theirs) - 2, 0)
    assert "withheld" in str(report)
    assert not report.undeleted

    with pytest.raises(InvalidArgumentError, match="withheld"):
        copy(scoped, MemoryStore())
    with pytest.raises(InvalidArgumentError, match="withheld"):
        MemoryStore().apply(page.changes)
    files = FsspecArtifactStore(f"file://{tmp_path}/files")
    with pytest.raises(InvalidArgumentError, match="whole store"):
        remove_blobs(scoped, files, timedelta(0), Collected())
    files.close()


def test_what_is_put_into_the_scope_brings_the_streams_that_spoke_of_it() -> None:
    store = MemoryStore()
    seen, other = Workspace("open"), Workspace(SECRET)
    store.apply([*seen.writer.changes, *other.writer.changes])
    scoped = ScopedStore(store, Scope(frozenset({seen.workspace})))
    assert set(scoped.heads()) == {seen.writer.stream_id}
    late = StreamWriter()  # its run arrives before the project that it is a part of
    late.open()
    project = new_id()
    run = late.create_run(project_id=project, name="early").entity_id
    store.apply(late.changes)
    assert set(scoped.heads()) == {seen.writer.stream_id}
    mover = StreamWriter()
    mover.open()
    mover.create("project", project, name="late", workspace_id=seen.workspace)
    store.apply(mover.changes)
    assert set(scoped.heads()) == {seen.writer.stream_id, late.stream_id, mover.stream_id}
    assert scoped.get("run", run).name == "early"
    mover.update("project", other.project, set={"workspace_id": seen.workspace})
    store.apply(mover.take(2))
    assert other.writer.stream_id in scoped.heads()
    assert scoped.get("run", other.run).name == f"{SECRET} run"
    mover.update("project", other.project, set={"workspace_id": other.workspace})
    store.apply(mover.take(3))
    assert other.writer.stream_id not in scoped.heads()
    shown = [change for change in scoped.read_changes().changes if change.entity_id == other.project]
    assert [change.withheld for change in shown] == [True, True]


def test_a_scope_of_one_project_reads_the_name_of_its_workspace_and_nothing_else_of_it() -> None:
    store = MemoryStore()
    seen = Workspace("open")
    other = StreamWriter()
    other.open()
    ids = other.create_containers(f"{SECRET} project", "experiment", seen.name)  # beside it, in the same workspace
    other.create_run(**ids, name=f"{SECRET} run")
    store.apply([*seen.writer.changes, *other.changes])
    scoped = ScopedStore(store, Scope(projects=frozenset({seen.project})))
    assert scoped.get("workspace", seen.workspace).name == seen.name
    found = {kind: [each.name for each in scoped.find(Query(kind)).entities] for kind in KINDS}
    assert found.pop("run") == ["open child", "open run"]
    assert {kind: names for kind, names in found.items() if names} == {
        "workspace": [seen.name],
        "project": ["open project"],
        "experiment": ["open experiment"],
        "comment": [""],
    }
    path = ("workspace", seen.name), ("project", "open project"), ("experiment", "new")
    workspace, project, experiment = scoped.identify(*path)
    assert (workspace, project) == (seen.workspace, seen.project)
    writer = StreamWriter()  # what every program that begins a run declares
    writer.open()
    writer.create("workspace", workspace, name=seen.name)
    writer.create("project", project, name="open project", workspace_id=workspace)
    writer.create("experiment", experiment, name="new", project_id=project)
    writer.create_run(project_id=project, experiment_id=experiment)
    scoped.apply(writer.changes)
    for write in (
        lambda w: w.update("workspace", workspace, set={"name": "mine"}),
        lambda w: w.create("workspace", workspace, name=seen.name, description="mine"),
        lambda w: w.create("project", name="mine", workspace_id=workspace),
        lambda w: w.create("dataset", name="mine", workspace_id=workspace),
        lambda w: w.create("comment", parent_id=workspace, message="mine"),
    ):
        assert "PermissionDenied" in _attempt(scoped, write, ())


@pytest.mark.parametrize("with_condition", [True, False])
def test_a_value_that_something_unseen_has_is_not_taken_and_nothing_is_told_but_that(with_condition: bool) -> None:
    """Also not by a change that claims to be older: of two that claim one name, the store takes it from the later one."""
    store = MemoryStore()
    seen, other = Workspace("open"), Workspace(SECRET)
    beside = StreamWriter()
    beside.open()
    beside.create_containers("beside", "experiment", seen.name)
    store.apply([*seen.writer.changes, *other.writer.changes, *beside.changes])
    names = {(entity.entity_id, entity.name) for kind in KINDS for entity in store.find(Query(kind)).entities}
    workspace = ScopedStore(store, Scope(frozenset({seen.workspace})))
    project = ScopedStore(store, Scope(projects=frozenset({seen.project})))
    for scoped, kind, entity_id, within, name in (
        (workspace, "workspace", seen.workspace, "", other.name),
        (project, "project", seen.project, seen.workspace, "beside"),
    ):
        expect = (Unique(kind, within, "name", name, entity_id),) if with_condition else ()
        answer = _attempt(scoped, lambda w, k=kind, i=entity_id, n=name: w.update(k, i, set={"name": n}), expect)
        assert answer.startswith("PreconditionError"), answer
        assert "taken already None" in answer
        assert _attempt(scoped, lambda w, k=kind, i=entity_id: w.update(k, i, set={"name": "free"}), ()) == "applied"
        assert store.get(kind, entity_id).name == "free"
        writer = StreamWriter(at=1_700_000_000_000_000)
        writer.open()
        writer.update(kind, entity_id, set={"name": f"{seen.word} {kind}"})
        scoped.apply(writer.changes)
    assert {(entity.entity_id, entity.name) for kind in KINDS for entity in store.find(Query(kind)).entities} == names
    # Asked about by a condition alone, nothing is told at all.
    other_name = Unique("project", other.workspace, "name", f"{SECRET} project")
    assert _attempt(project, lambda w: w.update("run", seen.run, add={"tags": ["x"]}), (other_name,)) == "applied"
    renamed = {"name": f"{SECRET} project"}
    assert _attempt(project, lambda w: w.update("project", seen.project, set=renamed), (other_name,)) == "applied"


def test_a_store_that_does_not_say_where_entities_lie_is_narrowed_for_nobody() -> None:
    class OldStore(MemoryStore):
        understands = frozenset({"linked"})

    with pytest.raises(QueryUnsupportedError, match="nobody can be shown a part"):
        ScopedStore(OldStore(), Scope({"a"}))  # type: ignore[arg-type]


def test_a_scope_is_made_of_identifiers() -> None:
    assert Scope({"a"}, ["b"]).containers == ("a", "b")  # type: ignore[arg-type]
    assert ScopedStore(MemoryStore(), Scope()).find(Query("workspace", count=True)).total == 0
    for given in ("abc", 3, [""], [3], ["a\0"], [str(number) for number in range(501)]):
        with pytest.raises(InvalidArgumentError):
            Scope(given)  # type: ignore[arg-type]


def test_what_may_be_read_and_not_written_stays_as_it_is(store: MetadataStore) -> None:
    """One workspace is read, a project of another is written: whatever is tried changes that project alone."""
    read, written = Workspace("read"), Workspace("written")
    store.apply([*read.writer.changes, *written.writer.changes])
    scope = Scope({read.workspace}, {written.project}, written={written.project})  # type: ignore[arg-type]
    narrowed = ScopedStore(store, scope)
    assert {each.entity_id for each in narrowed.find(Query("run")).entities} == {
        *(read.run, read.child),
        *(written.run, written.child),
    }
    before = store.end_of_log() if isinstance(store, ScopedStore) else len(store.read_changes().changes)
    refused: list[Write] = [
        lambda w: w.update("run", read.run, set={"name": "mine"}),
        lambda w: w.append(read.run, {"loss": [1.0]}),
        lambda w: w.delete("run", read.run),
        lambda w: w.delete("workspace", read.workspace),
        lambda w: w.create("comment", parent_id=read.run, message="hello"),
        lambda w: w.create("dataset", name="mine", workspace_id=read.workspace),
        lambda w: w.create_run(project_id=read.project, experiment_id=read.experiment),
        lambda w: w.create_run(project_id=written.project, experiment_id=read.experiment),
        lambda w: w.update("run", written.run, set={"project_id": read.project}),
        lambda w: w.update("run", written.run, set={"parent_id": read.run}),
        lambda w: w.update("run", read.run, set={"project_id": written.project}),
        lambda w: w.update("project", written.project, set={"workspace_id": read.workspace}),
        lambda w: w.create("project", read.project, name="read project", workspace_id=read.workspace, readme="x"),
    ]
    for number, write in enumerate(refused):
        writer = StreamWriter()
        write(writer)
        with pytest.raises(PermissionDeniedError):
            narrowed.apply(writer.changes)
            pytest.fail(f"attempt {number} was let through")
    assert len(store.read_changes().changes) == before
    writer = StreamWriter()
    writer.create("workspace", written.workspace, name=written.name)  # as each run declares it
    writer.create("comment", parent_id=written.run, message="hello")
    writer.update("run", written.run, put={"datasets": {"x": {"dataset_id": read.dataset}}})  # it names what it used
    narrowed.apply(writer.changes)
    assert store.get("run", written.run).document["datasets"]["x"] == {"dataset_id": read.dataset}


def test_who_may_see_a_place_is_altered_by_those_alone_who_govern_it(store: MetadataStore) -> None:
    place = Workspace("one")
    store.apply(place.writer.changes)
    both = frozenset({place.workspace})
    contributor = ScopedStore(store, Scope(both, governed=frozenset()))
    governor = ScopedStore(store, Scope(both))
    attempts: list[Write] = [
        lambda w: w.update("project", place.project, set={"visibility": "public"}),
        lambda w: w.create("project", place.project, name="one project", visibility="public", **_in(place)),
        lambda w: w.update("dataset", place.dataset, set={"visibility": "public"}),
        lambda w: w.update("workspace", place.workspace, set={"name": "mine"}),
        lambda w: w.update("workspace", place.workspace, set={"visibility": "public"}),
        lambda w: w.delete("workspace", place.workspace),
    ]
    for number, write in enumerate(attempts):
        writer = StreamWriter()
        write(writer)
        with pytest.raises(PermissionDeniedError):
            contributor.apply(writer.changes)
            pytest.fail(f"attempt {number} was let through")
    writer = StreamWriter()
    new = writer.create("project", name="new", visibility="public", **_in(place)).entity_id  # who makes it says so
    writer.create("project", place.project, name="one project", **_in(place))  # as each run declares it
    writer.update("project", place.project, set={"description": "what it is"})
    contributor.apply(writer.changes)
    assert store.get("project", new).document["visibility"] == "public"
    for write in attempts:
        writer = StreamWriter()
        write(writer)
        governor.apply(writer.changes)


def _in(place: Workspace) -> dict[str, str]:
    return {"workspace_id": place.workspace}


def test_who_may_change_a_run_may_comment_on_it_and_on_comments(store: MetadataStore) -> None:
    place = Workspace("one")
    store.apply(place.writer.changes)
    for scope in (Scope(frozenset({place.workspace})), Scope(projects=frozenset({place.project}))):
        writer = StreamWriter()
        made = [writer.create("comment", parent_id=each, message="hi") for each in (place.run, place.comment)]
        ScopedStore(store, scope).apply(writer.changes)
        assert [store.get("comment", each.entity_id).project_id for each in made] == [place.project] * 2


def test_a_scope_says_one_thing_in_one_way() -> None:
    scope = Scope(frozenset({"w"}), frozenset({"p"}), written=frozenset({"w", "p"}))
    assert scope == Scope(frozenset({"w"}), frozenset({"p"}))
    assert scope.to_write == scope.to_govern == scope
    narrow = Scope(frozenset({"w"}), frozenset({"p"}), written=frozenset({"p"}), governed=frozenset({"w"}))
    assert (narrow.to_write, narrow.to_govern) == (Scope(projects=frozenset({"p"})), Scope())
    with pytest.raises(InvalidTypeError, match="written"):
        Scope(written="w")  # type: ignore[arg-type]
