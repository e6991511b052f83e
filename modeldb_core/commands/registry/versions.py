"""Registering versions of models, made from a run's model or from files. The store decides their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modeldb_core.commands import containers
from modeldb_core.commands.edits import check_living
from modeldb_core.commands.names import check_name, check_tags
from modeldb_core.commands.operation import Operation, together
from modeldb_core.commands.registry.references import check_stage_names, model_of_name, stage_names
from modeldb_core.errors import InvalidArgumentError, InvalidTypeError, NotFoundError
from modeldb_core.log.changes import CREATE, UPDATE
from modeldb_core.log.conditions import Condition, Unset, ValueIs, for_creating
from modeldb_core.log.stream import Entry
from modeldb_core.model.decisions import saw
from modeldb_core.model.entities import EMPTY, new_id
from modeldb_core.model.registry import ModelVersion, RegisteredModel
from modeldb_core.model.values import check_key, check_text, is_digest, normalize
from modeldb_core.stores import numbering

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity, Run
    from modeldb_core.stores import ArtifactStore, MetadataStore

MODEL, VERSION = "registered_model", "model_version"
PICKLE = "pickle"
"""A format that runs any code when it is loaded; each who loads it has to allow it, and nobody for them."""
_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a version is made from.

    Attributes:
        artifacts: its files by path, as the ``artifacts`` of a run.
        run_id: the run that made it; empty where it was made from files.
        artifact: where it is among the artifacts of that run.
        model: how it was stored, as :meth:`~modeldb_core.tracking.RunHandle.log_model` noted it.
    """

    artifacts: Mapping[str, Mapping[str, Any]]
    run_id: str = ""
    artifact: str = ""
    model: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    @property
    def digests(self) -> frozenset[str]:
        """The digests of its files."""
        return frozenset(str(entry["digest"]) for entry in self.artifacts.values())


def from_run(run: Run, artifact: str) -> Source:
    """Return what a version is made from: an artifact of a run, or all that lie under its name.

    Raises:
        ConflictError: the run is deleted.
        NotFoundError: it has no such artifact.
    """
    check_living(run)
    name = check_key(artifact, "artifact name")
    files = {
        path: entry
        for path, entry in run.artifacts.items()
        if (path == name or path.startswith(f"{name}/")) and _names_a_file(entry)
    }
    if not files:
        there = ", ".join(repr(path) for path in sorted(run.artifacts)[:_SHOWN]) or "none"
        msg = f"run {run.name!r} ({run.entity_id}) has no artifact {name!r:.80} to make a version of; it has: {there}"
        raise NotFoundError(msg)
    described = next((entry["model"] for entry in files.values() if isinstance(entry.get("model"), Mapping)), EMPTY)
    kept = {path: {key: value for key, value in entry.items() if key != "model"} for path, entry in files.items()}
    return Source(artifacts=kept, run_id=run.entity_id, artifact=name, model=described)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said of a version beside its files.

    Attributes:
        description: in words.
        tags: labels.
        attributes: further facts, as they are recorded.
        trusted: names of types that loading it may build.
    """

    description: str = ""
    tags: Sequence[str] = ()
    attributes: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    trusted: Sequence[str] = ()

    def document(self) -> dict[str, Any]:
        """Return the fields that say so.

        Raises:
            InvalidTypeError, InvalidArgumentError: a label or a type cannot be that, or ``trusted`` names pickle.
        """
        return {
            "description": check_text(self.description, "description"),
            "tags": check_tags(self.tags),
            "attributes": dict(self.attributes),
            "trusted_types": check_trusted(self.trusted),
        }


def register(
    store: MetadataStore, name: str, source: Source, said: Said, *, workspace: Operation, stages: Sequence[str] = ()
) -> Operation:
    """Make a version with the next number of the registered model of a name; that is made unless it is there.

    The number is right for as long as nobody else takes it: see :func:`~modeldb_core.commands.operation.decide`.

    Args:
        store: where the model is looked up.
        name: of the model.
        source: what the version is made from.
        said: what else is said of it.
        workspace: declares the workspace of the model.
        stages: what the versions of a model go through that is made now; none: the usual ones.

    Raises:
        InvalidArgumentError: a name or a label cannot be that, or ``trusted`` names pickle.
        ConflictError: the model is deleted.
    """
    checked = check_name(name, "registered model")
    model = model_of_name(store, workspace.entity_id, checked)
    if model is not None:
        return register_next(store, model, source, said)
    names = check_stage_names(stages) if stages else []
    made = {"name": checked, "workspace_id": workspace.entity_id, "last_version": 1, "stage_names": names or None}
    created = containers.create(store, MODEL, made, declared_id=workspace.entity_id)
    model = RegisteredModel(entity_id=created.entity_id, stage_names=tuple(names))
    first = _version(model, 1, source, said, "")
    both = together((workspace, created, first))
    return Operation(both.entries, both.expect, first.entity_id)


def register_next(
    store: MetadataStore, model: RegisteredModel, source: Source, said: Said, *, version_id: str = ""
) -> Operation:
    """Make a version with the next number of a registered model as it was read; see :func:`register`."""
    check_living(model)
    number = next_number(store, model)
    created = _version(model, number, source, said, version_id)
    counted = updating(model, {"set": {"last_version": number}})
    seen = (unchanged(model, "last_version"), unchanged(model, "stage_names"))  # it begins in the first stage
    expect = (*created.expect, *seen, Unset(MODEL, model.entity_id, "deleted_at"))
    return Operation((counted, *created.entries), expect, created.entity_id)


def _version(model: RegisteredModel, number: int, source: Source, said: Said, version_id: str) -> Operation:
    checked = containers.check_new_id(version_id) if version_id else new_id()
    fields = {
        "run_id": source.run_id,
        "artifact": source.artifact,
        "artifacts": normalize(dict(source.artifacts), "artifacts"),
        "model": normalize(dict(source.model), "model"),
        **said.document(),
    }
    document = {
        "name": f"v{number}",
        "registered_model_id": model.entity_id,
        "version": number,
        "stage": stage_names(model)[0],
        **{name: value for name, value in fields.items() if value},
    }
    return Operation((Entry(CREATE, VERSION, checked, document),), for_creating(VERSION, checked, document), checked)


def check_there(artifacts: ArtifactStore, version: Source | ModelVersion) -> None:
    """See that the files of a version, or of what is to become one, are in the artifact store.

    Raises:
        NotFoundError: one is not.
    """
    for path, entry in version.artifacts.items():
        try:
            artifacts.stat(str(entry.get("digest")) if isinstance(entry, Mapping) else "")
        except NotFoundError as error:
            msg = f"the file {path!r:.200} is no longer in the artifact store; it was erased, or lies in another one: {error}"
            raise NotFoundError(msg) from error


def next_number(store: MetadataStore, model: RegisteredModel) -> int:
    """Return the number of the next version: no number comes again, not that of a version that is gone either."""
    highest = numbering.next_number(
        store, VERSION, model.entity_id
    )  # streams that were merged may have brought higher ones
    return max(highest, (model.last_version or 0) + 1)


def folder_of(version: ModelVersion) -> str:
    """Return the name under which the files of a version lie in its ``artifacts``: a file, or a folder."""
    return version.artifact or next(iter(version.artifacts), "").partition("/")[0]


def check_trusted(trusted: Iterable[str]) -> list[str]:
    """Return the names of types that a version is to be loaded with.

    Raises:
        InvalidTypeError: it is not a list of names; InvalidArgumentError: it names pickle.
    """
    names = check_names(trusted)
    if PICKLE in names:
        msg = (
            "trusted names 'pickle', which runs any code: nobody can allow that for those who load the model; leave it out, "
            "and let each of them pass trusted=['pickle']"
        )
        raise InvalidArgumentError(msg)
    return names


def check_names(trusted: Iterable[str]) -> list[str]:
    """Return names of types as a list, each once.

    Raises:
        InvalidTypeError: it is not a list of names.
    """
    given: object = trusted
    names = list(trusted) if isinstance(given, Iterable) and not isinstance(given, str) else None
    if names is None or not all(isinstance(name, str) for name in names):
        msg = f"trusted is {trusted!r:.80}; expected a list of names of types"
        raise InvalidTypeError(msg)
    return list(dict.fromkeys(check_key(name, "name of a type") for name in names))


def updating(entity: Entity, data: dict[str, Any]) -> Entry:
    """Return the update of an entity, with what was seen of the decisions that it replaces."""
    return Entry(UPDATE, entity.KIND, entity.entity_id, saw(entity.KIND, entity.document, data))


def unchanged(entity: Entity, name: str, key: str | None = None) -> Condition:
    """Return the condition that a field of an entity, or a key of a map, still is what it was when it was read."""
    value = entity.document.get(name)
    if key is not None:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return Unset(entity.KIND, entity.entity_id, name, key)
    return ValueIs(entity.KIND, entity.entity_id, name, value, key)


def _names_a_file(entry: object) -> bool:
    return isinstance(entry, Mapping) and is_digest(entry.get("digest"))
