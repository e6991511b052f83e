"""What the record says of how a run or a version of a model was made, and what it does not say.

Bills of material, attestations and crates are made of this. What nobody recorded is listed, and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import ModelVersion, Run
from modeldb_core.model.links import flows_of
from modeldb_core.model.schema import KINDS
from modeldb_core.model.values import BlobReference, is_digest
from modeldb_core.queries import Query, condition, portions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeldb_core.model.entities import Entity
    from modeldb_core.stores import MetadataStore

Resolve: TypeAlias = Callable[[Any], Any]
"""Returns a value; one that was moved to the artifact store is read from there, where that is possible."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file: where it is among the files of what it belongs to, its SHA-256, and its size in bytes where that is known."""

    path: str
    digest: str
    size_bytes: int | None = None
    run_id: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """What a run was given besides files: a version of a data set, of a model, or a commit.

    ``digest`` is what ModelDB knows the content by, which is no checksum of a file.
    """

    kind: str
    entity_id: str
    role: str
    name: str
    version: str = ""
    digest: str = ""
    is_here: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """What is known.

    Attributes:
        entity: what it is about.
        name: what people call it.
        version: its number; "" for a run.
        run: the run that made it; ``None`` where no run is recorded, or it is not here.
        files: its files: of a model those that it consists of, where the record says which these are.
        used: files of other runs that were used.
        inputs: what else was used.
        packages: versions of the packages that could be imported, by name.
        sources: where packages came from that did not come from an index.
        missing: what the record does not say, in words.
    """

    entity: Entity
    name: str
    version: str
    run: Run | None
    files: tuple[Part, ...]
    used: tuple[Part, ...]
    inputs: tuple[Input, ...]
    packages: Mapping[str, str]
    sources: Mapping[str, str]
    missing: tuple[str, ...]


def record_of(store: MetadataStore, entity: Entity, resolve: Resolve) -> Record:
    """Return what is known of a run or of a version of a model.

    Raises:
        InvalidArgumentError: it is of another kind.
    """
    missing: list[str] = []
    if isinstance(entity, Run):
        run: Run | None = entity
        name, version = entity.name, ""
        files = _model_files(entity.artifacts)
    elif isinstance(entity, ModelVersion):
        run = _run_of(store, entity, missing)
        name, version = _container_name(store, entity), str(entity.version or "")
        files = tuple(_files(entity.artifacts))
        if not files and run is not None:
            files = _model_files(run.artifacts)
    else:
        msg = f"{KINDS[entity.KIND].words} {entity.name!r} is neither a run nor a version of a model; name one of these"
        raise InvalidArgumentError(msg)
    if not files:
        missing.append("files: no file is recorded")
    gone = [one for one in (entity, run) if one is not None and one.deleted_at is not None]
    missing += [f"{one.KIND}: {one.entity_id} is deleted" for one in {id(each): each for each in gone}.values()]
    environment = {} if run is None else run.environment
    packages = _texts(resolve(environment.get("packages")))
    if run is not None and not packages:
        missing.append("packages: the environment of the run was not recorded, or cannot be read")
    inputs = tuple(_inputs(store, entity, run))
    if run is not None and not any(each.kind == "dataset_version" for each in inputs):
        missing.append("data: no data set is recorded")
    missing += [f"{each.role}: {KINDS[each.kind].words if each.kind else 'entity'} {each.entity_id} is not in the store"
                for each in inputs if not each.is_here]  # fmt: skip
    missing += _missing_code(run)
    used = () if run is None else tuple(_used(run))
    sources = _texts(resolve(environment.get("package_sources")))
    return Record(
        entity, name or entity.entity_id, version, run, files, used, inputs, packages, sources, tuple(missing)
    )


def _run_of(store: MetadataStore, version: ModelVersion, missing: list[str]) -> Run | None:
    if not version.run_id:
        missing.append("run: no run is recorded that made it")
        return None
    try:
        return cast("Run", store.get("run", version.run_id))
    except NotFoundError:
        missing.append(f"run: run {version.run_id}, which made it, is not in the store")
        return None


def _container_name(store: MetadataStore, entity: Entity) -> str:
    declaration = KINDS[entity.KIND]
    field = declaration.fields[declaration.home]
    try:
        return store.get(field.refers_to, str(entity.document.get(field.name) or "")).name or entity.name
    except NotFoundError:
        return entity.name


def _model_files(artifacts: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the files of the models among artifacts; all where none says that it belongs to one."""
    found = tuple(_files(artifacts))
    of_models = tuple(part for part in found if isinstance(artifacts[part.path].get("model"), Mapping))
    return of_models or found


def _files(artifacts: object) -> Iterator[Part]:
    for path, entry in artifacts.items() if isinstance(artifacts, Mapping) else ():
        if isinstance(entry, Mapping) and is_digest(digest := entry.get("digest")):
            size, media_type = entry.get("size_bytes"), entry.get("media_type")
            yield Part(
                path,
                str(digest),
                size if type(size) is int else None,
                media_type=media_type if isinstance(media_type, str) else "",
            )


def _used(run: Run) -> Iterator[Part]:
    for flow in flows_of("run", run.document):
        if flow.field == "inputs" and is_digest(digest := flow.entry.get("digest")):
            size = flow.entry.get("size_bytes")
            path = str(flow.entry.get("path") or digest)
            yield Part(path, str(digest), size if type(size) is int else None, flow.entity_id)


def _inputs(store: MetadataStore, entity: Entity, run: Run | None) -> Iterator[Input]:
    """Iterate over what an entity and its run were given, looked up kind by kind."""
    flows = list(flows_of(entity.KIND, entity.document))
    if run is not None and run is not entity:
        flows += flows_of("run", run.document)
    wanted = [flow for flow in flows if flow.is_input and flow.kind != "run" and not is_digest(flow.entry.get("digest")
              if flow.field == "inputs" else None)]  # fmt: skip
    found: dict[tuple[str, str], Entity] = {}
    for kind in dict.fromkeys(flow.kind for flow in wanted if flow.kind in KINDS):
        for some in portions(dict.fromkeys(flow.entity_id for flow in wanted if flow.kind == kind)):
            query = Query(kind, condition("entity_id in ?", some), limit=len(some), include_deleted=True)
            found.update(((kind, one.entity_id), one) for one in store.find(query).entities)
    for flow in wanted:
        there = found.get((flow.kind, flow.entity_id))
        name = flow.entry.get("name") or (there.name if there is not None else "")
        digest = (there.document.get("digest") if there is not None else "") or flow.entry.get("digest")
        version = there.document.get("version") if there is not None else flow.entry.get("version")
        yield Input(
            flow.kind,
            flow.entity_id,
            flow.key or flow.field,
            str(name or flow.entity_id),
            str(version or ""),
            digest if isinstance(digest, str) else "",
            there is not None,
        )


def _missing_code(run: Run | None) -> list[str]:
    if run is None:
        return []
    if not run.code.get("commit"):
        return ["code: no commit is recorded"]
    if run.code.get("dirty"):
        return ["code: the commit was changed without being committed; the changes are part of the record of the run"]
    return []


def _texts(values: object) -> dict[str, str]:
    if isinstance(values, BlobReference) or not isinstance(values, Mapping):
        return {}
    return {str(key): value for key, value in values.items() if isinstance(value, str)}
