"""What ModelDB keeps: the entities, their documents, and how a change alters a document.

An entity is stored as a *document*: a map from field names to values. A change creates it, updates it, or deletes it;
:func:`~modeldb_core.model.evolve.evolve` is the one place that says how. Stores keep documents, callers get the frozen classes below.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - anyone who describes the entities reads these types at run time
from dataclasses import dataclass, replace
from datetime import datetime  # noqa: TC003 - likewise
from types import MappingProxyType
from typing import Any, ClassVar

from modeldb_core.model.access import Grant, Team, User
from modeldb_core.model.entity import (
    DEFAULT_WORKSPACE,
    EMPTY,
    Document,
    Entity,
    clash_count,
    clashes,
    derived_id,
    from_datetime,
    is_id,
    made_from,
    new_id,
    now_us,
    to_datetime,
)
from modeldb_core.model.registry import Approval, ModelVersion, RegisteredModel
from modeldb_core.model.schema import (
    ANY,
    KINDS,
    WHOLE_STORE,
    Elapsed,
    KindDeclaration,
    boolean,
    check_kind,  # noqa: F401 - where plugins look for it
    content_tree,
    declare,
    integer,
    mapping,
    moment,
    reference,
    references,
    series,
    text,
    texts,
    visibility,
)

__all__ = [  # beside what is defined here
    "DEFAULT_WORKSPACE",
    "EMPTY",
    "Approval",
    "Document",
    "Entity",
    "Grant",
    "ModelVersion",
    "RegisteredModel",
    "Team",
    "User",
    "derived_id",
    "from_datetime",
    "is_id",
    "new_id",
    "now_us",
    "to_datetime",
]

RUNNING, LOST = "running", "lost"
FINISHED, FAILED, KILLED, PRUNED = "finished", "failed", "killed", "pruned"
ENDS = (FINISHED, FAILED, KILLED, PRUNED)
DATASET_TYPES = ("raw", "path", "query")
STATUSES = (RUNNING, *ENDS)  # what is stored; LOST is read from an expired lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace(Entity):
    """A tenant: the container of projects, datasets, repositories and registered models."""

    KIND: ClassVar[str] = "workspace"

    name: str = text("what people call it", searchable=True, unique_within=WHOLE_STORE)
    visibility: str = visibility()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Entity):
    """The container of experiments."""

    KIND: ClassVar[str] = "project"

    name: str = text("what people call it", searchable=True, unique_within="workspace_id")
    workspace_id: str = reference("workspace", container=True)
    readme: str = text("a longer text for readers")
    short_name: str = text("a short name, for addresses")
    visibility: str = visibility()
    artifacts: Mapping[str, Any] = mapping("files by path", searchable=True, offered=False, names_blobs=True)
    code: Mapping[str, Any] = mapping("the code that belongs to it", searchable=True, names_blobs=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(Entity):
    """A named group of runs within a project."""

    KIND: ClassVar[str] = "experiment"

    name: str = text("what people call it", searchable=True, unique_within="project_id")
    project_id: str = reference("project", container=True)
    artifacts: Mapping[str, Any] = mapping("files by path", searchable=True, offered=False, names_blobs=True)
    code: Mapping[str, Any] = mapping("the code that belongs to it", searchable=True, names_blobs=True)
    names_given: int = integer(
        "how often one of its runs got a name from which its identifier does not follow", default=0, secret=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """What is known of a series without reading its points.

    ``first`` and ``last`` go by the time of a point; ``minimum``, ``maximum`` and ``mean`` leave NaN out, which
    ``nan_count`` counts. They are NaN for a series of only NaN. Steps are the labels of the points they stand beside.
    """

    count: int
    nan_count: int
    first: float
    last: float
    minimum: float
    maximum: float
    mean: float
    first_step: int
    last_step: int
    min_step: int
    """The step of the minimum."""
    max_step: int
    """The step of the maximum."""
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Entity):
    """One execution of training code (the v1 API's ExperimentRun).

    ``metrics`` maps a name to the value that was logged once under it, else to the last value of its series.
    ``status`` is running, finished, failed, killed, pruned (given up on purpose, as not promising), or lost: running by
    the record, but its writer has not renewed its lease. ``failure`` has ``type``, ``message`` and ``traceback`` of the
    exception that made a run fail. ``artifacts`` maps a path to ``{"digest", "size_bytes", "media_type", "type"}``; ``notes`` are what ModelDB
    wants the reader to know, for example what could not be recorded.
    """

    KIND: ClassVar[str] = "run"
    ELAPSED: ClassVar[tuple[Elapsed, ...]] = (Elapsed("duration", "started_at", "finished_at"),)

    project_id: str = reference("project", container=True)
    experiment_id: str = reference("experiment", container=True)
    parent_id: str | None = reference(
        "run", "the run that it is a part of", default=None, container=True, lineage="input"
    )
    status: str = text(
        "running, finished, failed, killed, pruned or lost", default=RUNNING, searchable=True, choices=(*STATUSES, LOST)
    )
    started_at: datetime | None = moment("when it began", searchable=True)
    finished_at: datetime | None = moment("when it ended", searchable=True)
    reported_times: tuple[str, ...] = texts(
        "which of ``started_at`` and ``finished_at`` who logged it gave, instead of their being measured"
    )
    stream_id: str = text("the stream of its writer", searchable=True)
    metrics: Mapping[str, Any] = mapping(
        "values logged once, else the last ones of series", searchable=True, listed=True
    )
    hyperparameters: Mapping[str, Any] = mapping("settings of the training", searchable=True, listed=True)
    series: Mapping[str, SeriesSummary] = series("what is known of each series without its points")
    datasets: Mapping[str, Any] = mapping(
        "the data it used, by role",
        searchable=True,
        entries={"dataset_id": "dataset", "dataset_version_id": "dataset_version"},
        lineage="input",
    )
    models: Mapping[str, Any] = mapping(
        "the versions of registered models that it used, by role",
        searchable=True,
        entries={"registered_model_id": "registered_model", "model_version_id": "model_version"},
        lineage="input",
    )
    inputs: Mapping[str, Any] = made_from()
    commits: Mapping[str, Any] = mapping(
        "the commits of repositories that it was given, by the name of the repository, with the locations that it used",
        searchable=True,
        entries={"repository_id": "repository", "commit_id": "commit"},
        lineage="input",
    )
    code: Mapping[str, Any] = mapping("commit, branch and changes of the code", searchable=True, names_blobs=True)
    environment: Mapping[str, Any] = mapping("interpreter and packages")
    context: Mapping[str, Any] = mapping("machine and process", title="Machine and command")
    artifacts: Mapping[str, Any] = mapping("files by path", searchable=True, offered=False, names_blobs=True)
    features: Mapping[str, Any] = mapping(
        "names of the columns that a model is made from", searchable=True, offered=False
    )
    observations: Mapping[str, Any] = mapping(
        "what was observed and is no number, which series hold: each with its key, value and time", offered=False
    )
    job_id: str = text("the job that carries it out", searchable=True)
    failure: Mapping[str, Any] = mapping("the exception that made it fail", searchable=True, offered=False)
    notes: tuple[str, ...] = texts("what the reader should know")
    repeats_id: str | None = reference("run", "the run that it repeats (modeldb reproduce --record)", default=None)

    @property
    def run_id(self) -> str:
        """The identifier of the run."""
        return self.entity_id

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, ``None`` while the run has no end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Entity):
    """A named line of dataset versions. ``dataset_type`` is raw, path or query: of all its versions."""

    KIND: ClassVar[str] = "dataset"

    name: str = text("what people call it", searchable=True, unique_within="workspace_id")
    workspace_id: str = reference("workspace", container=True)
    dataset_type: str = text("raw, path or query", title="Type", searchable=True, choices=DATASET_TYPES)
    visibility: str = visibility()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion(Entity):
    """One state of a dataset. ``digest`` is of its content alone, without times: versions of equal content have one.

    ``info`` says what else is known: of raw data shape, schema and statistics; of a path where it lay; of a query its
    text, parameters and when it ran. The number is 0 until the store has given one.
    """

    KIND: ClassVar[str] = "dataset_version"

    dataset_id: str = reference("dataset", container=True)
    parent_id: str | None = reference("dataset_version", "the version before", default=None, lineage="input")
    version: int = integer("its number, from 1", default=0, searchable=True, unique_within="dataset_id")
    dataset_type: str = text("raw, path or query", title="Type", searchable=True, choices=DATASET_TYPES)
    digest: str = text("of its content", searchable=True)
    tree: str = content_tree("its files")
    size_bytes: int | None = integer("of its content", title="Size in bytes", searchable=True)
    record_count: int | None = integer("rows or records", title="Records", searchable=True)
    part_count: int | None = integer("files that it consists of", title="Files", searchable=True)
    source: str = text("where it was: a path, an address, a database", searchable=True)
    is_kept: bool | None = boolean("whether its content is kept in the artifact store", title="Kept", searchable=True)
    visibility: str = visibility()
    info: Mapping[str, Any] = mapping("shape, schema and statistics; the query", title="Details")
    inputs: Mapping[str, Any] = made_from()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository(Entity):
    """A line of commits that version code, data, configuration and environment; branches and tags name some of them."""

    KIND: ClassVar[str] = "repository"

    name: str = text("what people call it", searchable=True, unique_within="workspace_id")
    workspace_id: str = reference("workspace", container=True)
    branches: Mapping[str, Any] = mapping(
        "commits by the name of a branch", entries={"": "commit"}, holds=True, decided=True
    )
    commit_tags: Mapping[str, Any] = mapping("commits by tag", entries={"": "commit"}, holds=True, decided=True)
    clashes: Mapping[str, Any] = clashes("commit")
    clash_count: int = clash_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Entity):
    """One state of a repository: a tree of code, data, configuration and environment, and the commits before it."""

    KIND: ClassVar[str] = "commit"

    repository_id: str = reference("repository", container=True)
    parent_ids: tuple[str, ...] = references(
        "commit", "the commits before: of a merge, ours first", title="Parents", holds=True, lineage="input"
    )
    message: str = text("what was changed, and why", searchable=True)
    author: str = text("who wrote what it changes, by what they call themselves", title="Written by", searchable=True)
    authored_at: datetime | None = moment("when that was written", title="Written", searchable=True)
    digest: str = text("of its content and of the digests of its parents", searchable=True)
    generation: int = integer("how many commits lead up to it, on the longest way", default=0, searchable=True)
    tree: str = content_tree("what it holds: blobs by location")
    inputs: Mapping[str, Any] = made_from()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Entity):
    """What a person said about another entity."""

    KIND: ClassVar[str] = "comment"

    parent_id: str = reference(ANY, "the entity it is about", container=True)
    message: str = text("what was said", searchable=True)
    author: str = text("who said it", searchable=True, names_actor=True)


for _declaration in (
    *map(KindDeclaration, (Workspace, Project, Experiment, Run, Dataset, DatasetVersion, Repository)),
    KindDeclaration(Commit, made_by_operation=True),
    KindDeclaration(RegisteredModel),
    KindDeclaration(ModelVersion, made_by_operation=True),
    KindDeclaration(Approval, remark=True),
    KindDeclaration(Comment, remark=True),
    *(KindDeclaration(each, secret=True) for each in (User, Team, Grant)),
):
    declare(replace(_declaration, is_own=True))


def entity_from_document(kind: str, entity_id: str, document: Document, **computed: Any) -> Entity:  # noqa: ANN401
    """Return the entity that ``document`` describes; ``computed`` overrides fields that a store works out.

    Maps are shared with ``document`` behind a read-only view: a store passes a document that it no longer changes.
    """
    declaration = KINDS[kind]
    times, lists, stored = declaration.times, declaration.lists, declaration.stored
    shown = document
    if not declaration.is_own or not stored.keys() >= document.keys():
        # No store refuses what does not fit of a kind that it may not know.
        shown = {
            name: value
            for name, value in document.items()
            if name in stored and (declaration.is_own or stored[name].fits(value))
        }
    values: dict[str, Any] = {**declaration.empty, **shown}
    for name, value in shown.items():
        of = type(value)  # of most fields it is text, which stays as it is
        if of is dict:
            values[name] = MappingProxyType(value)
        elif of is int:
            if name in times:
                values[name] = to_datetime(value)
        elif of is list and name in lists:
            values[name] = tuple(value)
    values.update(computed, entity_id=entity_id, document=MappingProxyType(document))
    entity: Entity = declaration.entity(**values)
    return entity
