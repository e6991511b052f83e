"""What ModelDB keeps: the entities, their documents, and how a change alters a document.

An entity is stored as a *document*: a map from field names to values. A change creates it, updates it, or deletes it;
:func:`evolve` is the one place that says how. Stores keep documents, callers get the frozen classes below.
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
import uuid
from collections.abc import Mapping  # noqa: TC003 - whoever describes the entities reads these types at run time
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias, TypeVar

from modeldb_core.errors import InvalidArgumentError

Document: TypeAlias = dict[str, Any]
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


DEFAULT_WORKSPACE = "default"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMESPACE = uuid.UUID("6d6f6465-6c64-5b00-8000-000000000001")

RUNNING, LOST = "running", "lost"
FINISHED, FAILED, KILLED, PRUNED = "finished", "failed", "killed", "pruned"
ENDS = (FINISHED, FAILED, KILLED, PRUNED)
STATUSES = (RUNNING, *ENDS)  # what is stored; LOST is read from an expired lease


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """Return a new random identifier that sorts by the time of its making (UUIDv7, RFC 9562).

    To a quarter of a microsecond, by method 3 of section 6.2: two runs of a loop are listed in the order they began in.
    """
    millisecond, rest_ns = divmod(time.time_ns(), 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return str(uuid.UUID(int=millisecond << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random))


def is_id(text: object) -> bool:
    """Return whether something has the form of an identifier that :func:`new_id` returns: a UUID in lower case."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def derived_id(kind: str, parent_id: str, name: str) -> str:
    """Return the identifier of a container that people name, equal wherever it is computed (UUIDv5 of its name).

    Two offline writers who both create the project "churn" so end up with one project. Names are equal after Unicode
    normalization (NFC).
    """
    return str(uuid.uuid5(_NAMESPACE, f"{kind}\0{parent_id}\0{unicodedata.normalize('NFC', name)}"))


def now_us() -> int:
    """Return the time as stored: microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def to_datetime(time_us: int | None) -> datetime | None:
    """Return a stored time as an aware UTC datetime; ``None`` for none, and for what no calendar has."""
    if time_us is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=time_us)
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What every entity has. Times are aware UTC datetimes; ``owner`` is the actor who created it."""

    KIND: ClassVar[str] = "entity"

    entity_id: str
    name: str = ""
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=_empty)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    document: Mapping[str, Any] = field(default_factory=_empty, repr=False, compare=False)
    """The whole document as stored, with fields that this version has no name for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace(Entity):
    """A tenant: the container of projects, datasets, repositories and registered models."""

    KIND: ClassVar[str] = "workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Entity):
    """The container of experiments."""

    KIND: ClassVar[str] = "project"

    workspace_id: str = ""
    readme: str = ""
    visibility: str = ""
    artifacts: Mapping[str, Any] = field(default_factory=_empty)
    code: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(Entity):
    """A named group of runs within a project."""

    KIND: ClassVar[str] = "experiment"

    project_id: str = ""
    artifacts: Mapping[str, Any] = field(default_factory=_empty)
    code: Mapping[str, Any] = field(default_factory=_empty)


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

    project_id: str = ""
    experiment_id: str = ""
    parent_id: str | None = None
    status: str = RUNNING
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stream_id: str = ""
    hyperparameters: Mapping[str, Any] = field(default_factory=_empty)
    metrics: Mapping[str, Any] = field(default_factory=_empty)
    series: Mapping[str, SeriesSummary] = field(default_factory=_empty)
    artifacts: Mapping[str, Any] = field(default_factory=_empty)
    datasets: Mapping[str, Any] = field(default_factory=_empty)
    code: Mapping[str, Any] = field(default_factory=_empty)
    environment: Mapping[str, Any] = field(default_factory=_empty)
    context: Mapping[str, Any] = field(default_factory=_empty)
    failure: Mapping[str, Any] = field(default_factory=_empty)
    notes: tuple[str, ...] = ()

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
    """A named line of dataset versions. ``dataset_type`` is raw, path or query."""

    KIND: ClassVar[str] = "dataset"

    workspace_id: str = ""
    dataset_type: str = ""
    visibility: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion(Entity):
    """One state of a dataset: ``digest`` of its content, ``info`` on where it came from and its shape and schema."""

    KIND: ClassVar[str] = "dataset_version"

    dataset_id: str = ""
    parent_id: str | None = None
    version: int = 0
    dataset_type: str = ""
    digest: str = ""
    info: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository(Entity):
    """A line of commits that version code, data, configuration and environment. ``refs`` maps branches and tags."""

    KIND: ClassVar[str] = "repository"

    workspace_id: str = ""
    branches: Mapping[str, Any] = field(default_factory=_empty)
    commit_tags: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Entity):
    """One state of a repository: ``blobs`` maps a location to its content's digest and type."""

    KIND: ClassVar[str] = "commit"

    repository_id: str = ""
    parent_ids: tuple[str, ...] = ()
    message: str = ""
    author: str = ""
    blobs: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel(Entity):
    """A named line of model versions. ``aliases`` maps a name such as "champion" to a version's identifier."""

    KIND: ClassVar[str] = "registered_model"

    workspace_id: str = ""
    aliases: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Entity):
    """One version of a registered model: the run and artifact it came from, and its stage."""

    KIND: ClassVar[str] = "model_version"

    registered_model_id: str = ""
    version: int = 0
    run_id: str = ""
    artifact: Mapping[str, Any] = field(default_factory=_empty)
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Entity):
    """What a person said about another entity."""

    KIND: ClassVar[str] = "comment"

    parent_id: str = ""
    message: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Entity):
    """A person or a service that acts. Secrets are never part of an entity."""

    KIND: ClassVar[str] = "user"

    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Entity):
    """The right of a user to call the server; only the token's digest is kept."""

    KIND: ClassVar[str] = "token"

    user_id: str = ""
    digest: str = ""
    expires_at: datetime | None = None


KINDS: Mapping[str, type[Entity]] = MappingProxyType(
    {
        cls.KIND: cls
        for cls in (
            *(Workspace, Project, Experiment, Run, Dataset, DatasetVersion, Repository, Commit),
            *(RegisteredModel, ModelVersion, Comment, User, Token),
        )
    }
)

PARENT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "project": "workspace_id",
        "experiment": "project_id",
        "run": "experiment_id",
        "dataset": "workspace_id",
        "dataset_version": "dataset_id",
        "repository": "workspace_id",
        "commit": "repository_id",
        "registered_model": "workspace_id",
        "model_version": "registered_model_id",
        "comment": "parent_id",
        "token": "user_id",
    }
)
"""The field that names the container of an entity, by kind. (A run's ``parent_id`` is another run.)"""

_TIMES = frozenset({"created_at", "updated_at", "deleted_at", "started_at", "finished_at", "expires_at"})
_LISTS = frozenset({"tags", "notes", "parent_ids"})
_OF_CHANGES = frozenset({"created_at", "owner", "updated_at", "deleted_at"})  # in a document without any payload
_EntityT = TypeVar("_EntityT", bound=Entity)
_FIELDS = {kind: tuple(f.name for f in fields(cls)) for kind, cls in KINDS.items()}


def check_kind(kind: str) -> str:
    """Return ``kind`` if it is one of :data:`KINDS`.

    Raises:
        InvalidArgumentError: it is not.
    """
    if kind not in KINDS:
        msg = f"kind {kind!r} is unknown; expected one of {', '.join(KINDS)}"
        raise InvalidArgumentError(msg)
    return kind


def entity_from_document(kind: str, entity_id: str, document: Document, **computed: Any) -> Entity:  # noqa: ANN401
    """Return the entity that ``document`` describes; ``computed`` overrides fields that a store works out.

    Maps are shared with ``document`` behind a read-only view: a store passes a document that it no longer changes.
    """
    values: dict[str, Any] = {"entity_id": entity_id, "document": MappingProxyType(document)}
    for name in _FIELDS[kind]:
        if name in document:
            value = document[name]
            if name in _TIMES:
                value = to_datetime(value)
            elif name in _LISTS:
                value = tuple(value)
            elif isinstance(value, dict):
                value = MappingProxyType(value)
            values[name] = value
    values.update(computed)
    return KINDS[kind](**values)


def is_bare(document: Document) -> bool:
    """Return whether an entity is deleted and its document says nothing any more: what it said was erased.

    A run that still has points is not gone all the same.
    """
    return document.get("deleted_at") is not None and document.keys() <= _OF_CHANGES


def evolve(document: Document | None, action: str, payload: Document, *, actor: str, recorded_at: int) -> Document:
    """Return the document after a change; ``document`` is the one before, or ``None``, and stays as it was.

    - ``create``: the payload is the document. Where the entity is there already (containers have derived identifiers,
      so two writers may create the same one), the first one's fields win, and a deleted entity comes back.
    - ``update``: ``set`` gives fields new values; ``put`` writes keys of maps; ``add`` appends what is missing to
      lists; ``remove`` drops keys of maps, or elements of lists.
    - ``delete``: ``deleted_at`` is set. The document stays, so that it can be restored and the audit can show it.
    - ``restore``: ``deleted_at`` is taken away.

    Updates of an entity that was never created make it: a run that two processes log to may see the child's stream
    arrive first.
    """
    after: Document = dict(document) if document else {"created_at": recorded_at, "owner": actor}
    if action == "create":
        for name, value in payload.items():
            after.setdefault(name, value)
        after.pop("deleted_at", None)
    elif action == "update":
        _update(after, payload)
    elif action == "delete":
        after["deleted_at"] = recorded_at
    elif action == "restore":
        after.pop("deleted_at", None)
    else:
        msg = f"action {action!r} does not alter a document; expected create, update, delete or restore"
        raise InvalidArgumentError(msg)
    after["updated_at"] = max(recorded_at, after.get("updated_at", recorded_at))
    return after


def _update(after: Document, payload: Document) -> None:
    after.update(payload.get("set", {}))
    for name, items in payload.get("put", {}).items():
        after[name] = {**after.get(name, {}), **items}
    for name, items in payload.get("add", {}).items():
        present = after.get(name, [])
        after[name] = present + [item for item in dict.fromkeys(items) if item not in present]
    for name, items in payload.get("remove", {}).items():
        if name not in after:
            continue  # an empty list in its place would be wrong for a map
        present = after[name]
        gone = set(items)
        if isinstance(present, dict):
            after[name] = {key: value for key, value in present.items() if key not in gone}
        else:
            after[name] = [item for item in present if item not in gone]
