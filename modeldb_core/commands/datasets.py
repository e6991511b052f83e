"""Data sets and their versions: made by name and number, and recorded with the runs that used them.

A version is *logged* by a program through its journal (:func:`log_dataset`): it has the identifier that follows from its
content, so equal content is one version whoever logs it, and the store numbers it when it arrives. A version is *added* by
people and APIs (:func:`add_version`), at once: the content that the latest version has is that version, other
content is the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modeldb_core.commands.declaring import declare
from modeldb_core.commands.edits import living, put_values
from modeldb_core.commands.names import check_tags
from modeldb_core.commands.operation import Operation, decide, execute
from modeldb_core.errors import (
    InvalidArgumentError,
    NotFoundError,
)
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.log.conditions import Absent, Unique
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import DATASET_TYPES, EMPTY, Dataset, DatasetVersion, derived_id, new_id
from modeldb_core.model.values import check_key, check_text
from modeldb_core.queries import Query, condition
from modeldb_core.runtime.notices import listing
from modeldb_core.stores import numbering

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modeldb_core.stores import MetadataStore
    from modeldb_core.stores.direct import DirectWriter

RAW, PATH, QUERY = DATASET_TYPES
LATEST = "latest"
SHOWN = ("digest", "kind", "shape", "size_bytes", "origin")
"""What a run itself says of the data that it used."""
_TYPES = {"path": PATH, "file": PATH, "folder": PATH, "url": PATH, "delta": PATH, "iceberg": PATH, "query": QUERY}
_NUMBER = re.compile(r"v?([1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a version of a data set consists of.

    Attributes:
        dataset_type: raw, path or query.
        digest: of the content alone; "" where it cannot be read: then no two versions are the same.
        source: where it was.
        size_bytes, record_count, part_count: of it, where they are known.
        info: what else is known.
        fields: further fields of the version, such as ``tree``.
    """

    dataset_type: str = RAW
    digest: str = ""
    source: str = ""
    size_bytes: int | None = None
    record_count: int | None = None
    part_count: int | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def with_info(self, info: Mapping[str, Any]) -> Content:
        """Return it with this in place of what else is known."""
        return replace(self, info=info)

    def document(self) -> dict[str, Any]:
        """Return what a version says of it; what is not known is left out.

        Raises:
            InvalidArgumentError: the type is none of the three, or a number is negative.
        """
        if self.dataset_type not in DATASET_TYPES:
            msg = f"dataset_type {self.dataset_type!r:.40} is unknown; expected one of {', '.join(DATASET_TYPES)}"
            raise InvalidArgumentError(msg)
        counts = {name: getattr(self, name) for name in ("size_bytes", "record_count", "part_count")}
        for name, count in counts.items():
            if count is not None and (type(count) is not int or not 0 <= count < 2**63):
                msg = f"{name} is {count!r:.40}; expected a number from 0 on, or nothing where it is not known"
                raise InvalidArgumentError(msg)
        texts = {"digest": self.digest, "source": self.source}
        known = {name: value for name, value in {**counts, **texts}.items() if value not in (None, "")}
        return {"dataset_type": self.dataset_type, **known, "info": dict(self.info), **self.fields}


def content_of(description: Mapping[str, Any]) -> Content:
    """Return the content of data as ``describe`` described it."""
    kind, shape, origin = (description.get(name) for name in ("kind", "shape", "origin"))
    origin = origin if isinstance(origin, dict) else {}
    rows = shape[0] if isinstance(shape, (list, tuple)) and shape and kind != "image" else None
    schema = description.get("schema")
    files = schema.get("files") if isinstance(schema, dict) else None
    size = description.get("size_bytes")
    return Content(
        dataset_type=_TYPES.get(str(kind), RAW),
        digest=str(description.get("digest") or ""),
        source=str(origin.get("path") or origin.get("url") or ""),
        size_bytes=size if type(size) is int and size >= 0 else None,
        record_count=rows if type(rows) is int and rows >= 0 else None,
        part_count=1 if kind == "file" else files if type(files) is int else None,
        info=description,
    )


def log_dataset(
    run_id: str, role: str, name: str, content: Content, *, workspace_id: str, dataset_id: str
) -> tuple[Operation, Operation, Operation]:
    """Record that a run used a version of a data set.

    Args:
        run_id: which run.
        role: what the run does with it; the key among its data sets.
        name: of the data set.
        content: of the version.
        workspace_id: where the data set belongs.
        dataset_id: the data set of that name there.

    Returns:
        The operations that declare the data set and its version, and the one that makes the run refer to that, and says
        that the version is kept where it is now: it may have been declared before, when it was not. The identifier of a version is the same wherever the same content is logged under the name.
    """
    version_id = content_id(dataset_id, content.digest)
    shown = {key: content.info[key] for key in SHOWN if key in content.info}
    used = use_version(run_id, role, name, dataset_id, version_id, shown)
    return (
        declare("dataset", dataset_id, name, dataset_type=content.dataset_type, workspace_id=workspace_id),
        declare("dataset_version", version_id, name, dataset_id=dataset_id, **{"digest": "", **content.document()}),
        Operation((*_keeping(version_id, content), *used.entries), used.expect, used.entity_id),
    )


def use_version(
    run_id: str, role: str, name: str, dataset_id: str, version_id: str, shown: Mapping[str, Any] = EMPTY
) -> Operation:
    """Make a run refer to a version of a data set in a role; ``shown`` is what the run itself says of it."""
    reference = {"name": name, "dataset_id": dataset_id, "dataset_version_id": version_id}
    return put_values("run", run_id, "datasets", {check_key(role, "role of a data set"): {**reference, **shown}})


def content_id(dataset_id: str, digest: str) -> str:
    """Return the identifier of the first version of a data set that has some content; a new one where it has no digest."""
    return derived_id("dataset_version", dataset_id, digest or new_id())


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is said of a version beside its content."""

    description: str = ""
    tags: Iterable[str] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    visibility: str = ""
    parent_id: str = ""


def add_version(
    writer: DirectWriter, name: str, content: Content, about: About | None = None, *, workspace_id: str, dataset_id: str
) -> DatasetVersion:
    """Add a version to a data set, which is made if there is none of that name; it is durable when this returns.

    Content that the latest version has is that version: nothing is added. Of several writers at once each gets a number
    of its own, or the version of whoever added the same content first.

    Args:
        writer: applies it in the name of its actor.
        name: of the data set.
        content: of the version.
        about: what else is said of it; its ``parent_id`` is the latest version's where it names none.
        workspace_id, dataset_id: as :meth:`~modeldb_core.stores.MetadataStore.identify` returns them for the names.

    Raises:
        InvalidArgumentError: the data set has versions of another type.
        NotFoundError: the parent is no version of the data set.
        ConditionsUnsupportedError: the store cannot decide on numbers.
        PreconditionError, AlreadyExistsError: others added versions all the while.
    """
    store, actor = writer.store, writer.actor

    def look() -> Operation:
        return next_version(store, name, content, about, workspace_id=workspace_id, dataset_id=dataset_id, actor=actor)

    made = decide(lambda operation: execute(writer, operation), look)
    return _version(store, made.entity_id)


def next_version(
    store: MetadataStore,
    name: str,
    content: Content,
    about: About | None = None,
    *,
    workspace_id: str,
    dataset_id: str,
    actor: str,
    version_id: str = "",
) -> Operation:
    """Return what adds a version to a data set, by what is stored now: for :func:`~modeldb_core.commands.operation.decide`.

    Args:
        store: where it is added; versions that have no number yet are numbered first.
        name, content, about, workspace_id, dataset_id: as of :func:`add_version`.
        actor: in whose name versions are numbered.
        version_id: of the new version, where an older one has the same content.

    Returns:
        An operation with the identifier of the version; one without changes where the latest version is it.

    Raises:
        InvalidArgumentError, NotFoundError: as :func:`add_version`.
    """
    about = about or About()
    _check_dataset(store, dataset_id, name, content)
    numbering.number_within(store, "dataset_version", dataset_id, actor)
    number = numbering.next_number(store, "dataset_version", dataset_id)  # first: it is taken if what follows is not so
    before = numbering.latest(store, "dataset_version", dataset_id)
    if isinstance(before, DatasetVersion) and _is_same(before, content):
        return _kept(before, content)
    made = {"dataset_type": content.dataset_type, "workspace_id": workspace_id}
    container = declare("dataset", dataset_id, name, **made)
    before_id = before.entity_id if before else ""
    operation = _next(
        store, dataset_id, name, content, about, before_id, number=number, other_id=version_id or new_id()
    )
    return Operation((*container.entries, *operation.entries), operation.expect, operation.entity_id)


def find_version(store: MetadataStore, dataset_id: str, version: str | int, name: str = "") -> DatasetVersion:
    """Return a version of a data set by its number (``3``, ``"v3"``), ``"latest"``, or its identifier.

    ``name`` is what the data set is called, for messages.

    Raises:
        NotFoundError: there is no such version; InvalidArgumentError: nothing of that form names one.
    """
    found: Any = None
    text = str(version)
    if text == LATEST:
        found = numbering.latest(store, "dataset_version", dataset_id)
    elif match := _NUMBER.fullmatch(text):
        query = Query("dataset_version", condition("version = ?", int(match[1])), within=dataset_id, limit=1)
        found = next(iter(store.find(query).entities), None)
    elif len(text) == len(new_id()):
        entity = store.get("dataset_version", text)
        found = entity if isinstance(entity, DatasetVersion) and entity.dataset_id == dataset_id else None
    else:
        msg = f"{version!r:.60} names no version; expected a number such as v3, {LATEST!r}, or an identifier"
        raise InvalidArgumentError(msg)
    if not isinstance(found, DatasetVersion):
        last = numbering.latest(store, "dataset_version", dataset_id)
        itself = Query("dataset", condition("entity_id = ?", dataset_id), fields=(), limit=1)
        if last is None and not store.find(itself).entities:
            msg = f"there is no data set {name or dataset_id!r}; {listing('dataset list', store.url)}"
            raise NotFoundError(msg)
        there = "it has no version" if last is None else f"the latest is v{last.document.get('version')}"
        msg = f"there is no version {text!r:.60} of the data set {name or dataset_id}: {there}"
        raise NotFoundError(msg)
    return found


def parse_reference(reference: str) -> tuple[str, str]:
    """Return the name of a data set and what names its version: ``churn/train@v3``; without one it is the latest.

    Raises:
        InvalidArgumentError: it names no data set.
    """
    name, at, version = check_text(reference, "data set").rpartition("@")
    if not at:
        return version, LATEST
    if not name or not version:
        msg = f"data set {reference!r:.80} is not of the form NAME@VERSION, such as churn/train@v3"
        raise InvalidArgumentError(msg)
    return name, version


# -- inside ------------------------------------------------------------------------------------------------------------


def _check_dataset(store: MetadataStore, dataset_id: str, name: str, content: Content) -> None:
    try:
        dataset = store.get("dataset", dataset_id)
    except NotFoundError:
        return
    known = dataset.dataset_type if isinstance(dataset, Dataset) else ""
    if known and known != content.dataset_type and numbering.latest(store, "dataset_version", dataset_id):
        msg = (
            f"the data set {name!r} has versions of type {known}, and this content is of type {content.dataset_type}; "
            "give it another name"
        )
        raise InvalidArgumentError(msg)


def _is_same(version: DatasetVersion, content: Content) -> bool:
    return bool(content.digest) and (version.digest, version.dataset_type) == (content.digest, content.dataset_type)


def _kept(version: DatasetVersion, content: Content) -> Operation:
    """Return what adding a version's content again changes: it is kept from now on where it was not."""
    entries = () if version.is_kept else _keeping(version.entity_id, content)
    return Operation(entries, entity_id=version.entity_id)


def _keeping(version_id: str, content: Content) -> tuple[Entry, ...]:
    """Return what says of a version that is there already that its content is kept; nothing where it is not."""
    if not content.fields.get("is_kept"):
        return ()
    said = {name: value for name, value in content.fields.items() if value is not None}
    return (Entry(UPDATE, "dataset_version", version_id, {"set": said}),)


def _next(
    store: MetadataStore,
    dataset_id: str,
    name: str,
    content: Content,
    about: About,
    before_id: str,
    *,
    number: int,
    other_id: str,
) -> Operation:
    version_id = content_id(dataset_id, content.digest)
    try:
        store.get("dataset_version", version_id)
        version_id = other_id  # an older version has this content
    except NotFoundError:
        pass
    if about.parent_id:
        parent = living(store, "dataset_version", about.parent_id)
        if not isinstance(parent, DatasetVersion) or parent.dataset_id != dataset_id:
            msg = f"the version {about.parent_id} is no version of the data set {name!r}"
            raise NotFoundError(msg)
    said = {
        "name": name,
        "description": check_text(about.description, "description"),
        "tags": check_tags(about.tags),
        "attributes": dict(about.attributes),
        "visibility": about.visibility,
        "parent_id": about.parent_id or before_id,
    }
    document = {
        **{key: value for key, value in said.items() if value},
        **content.document(),
        "dataset_id": dataset_id,
        "version": number,
    }
    expect = (
        Absent("dataset_version", version_id),
        Unique("dataset_version", dataset_id, "version", number),
    )
    return Operation((Entry(CREATE, "dataset_version", version_id, document),), expect, version_id)


def _version(store: MetadataStore, version_id: str) -> DatasetVersion:
    version = store.get("dataset_version", version_id)
    assert isinstance(version, DatasetVersion)
    return version
