"""Registered models and their versions, as programs hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modeldb_core.commands.operation import execute
from modeldb_core.commands.registry import approvals, cards, promotion, references, versions
from modeldb_core.commands.registry.history import Move, State, check_time, state_at
from modeldb_core.commands.registry.history import history as history_of
from modeldb_core.errors import NotFoundError
from modeldb_core.model.entities import new_id
from modeldb_core.model.registry import APPROVED, REJECTED, REQUESTED, ModelVersion, RegisteredModel
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query
from modeldb_core.stores.direct import DirectWriter
from modeldb_core.tracking import artifacts as artifact_kinds

if TYPE_CHECKING:
    import os
    from datetime import datetime

    from modeldb_core.commands.operation import Operation
    from modeldb_core.model.registry import Approval
    from modeldb_core.tracking.session import Session


def find_version(client: Session, reference: str | ModelVersionHandle) -> ModelVersionHandle:
    """Return the version that a reference means.

    Raises:
        NotFoundError: there is none; ConflictError: it is deleted; InvalidArgumentError: the reference names no version.
    """
    if isinstance(reference, ModelVersionHandle):
        return reference
    client.settle()
    return ModelVersionHandle(client, *references.resolve(client.store, workspace_id_of(client), reference))


class RegisteredModelHandle:
    """A registered model as it was read. What is decided with it goes by what it showed: if that is no longer so, it fails.

    After a success or a failure it shows what is there now; :meth:`reload` does so at any time.
    """

    def __init__(self, client: Session, entity: RegisteredModel) -> None:
        self.client, self.entity = client, entity

    @property
    def name(self) -> str:
        """Its name."""
        return self.entity.name

    @property
    def description(self) -> str:
        """What it is, in words."""
        return self.entity.description

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages that its versions go through, in order."""
        return references.stage_names(self.entity)

    @property
    def stages(self) -> dict[str, int | None]:
        """By stage, the number of the version that has it to itself; not of the first and the last stage."""
        return self._numbers(self.entity.stages)

    @property
    def aliases(self) -> dict[str, int | None]:
        """By alias, the number of the version that has it."""
        return self._numbers(self.entity.aliases)

    def reload(self) -> RegisteredModelHandle:
        """Read it again; returns itself."""
        self.client.settle()
        self.entity = cast("RegisteredModel", self.client.store.get("registered_model", self.entity.entity_id))
        return self

    def versions(self) -> tuple[ModelVersionHandle, ...]:
        """Return its versions, the newest first, without those that are deleted."""
        query = Query("model_version", order_by="version desc", within=self.entity.entity_id)
        found = pages(self.client.store, query)
        return tuple(ModelVersionHandle(self.client, self.entity, cast("ModelVersion", each)) for each in found)

    def version(self, selector: str | int) -> ModelVersionHandle:
        """Return one of its versions: by number, ``"v3"``, an alias, a stage, or ``"latest"``.

        Raises:
            NotFoundError: there is none; ConflictError: it is deleted.
        """
        found = references.find_version(self.client.store, self.entity, selector)
        return ModelVersionHandle(self.client, self.entity, found)

    def promote(
        self, version: str | int | ModelVersionHandle, *, stage: str = "", alias: str = "", reason: str
    ) -> ModelVersionHandle:
        """Move a version into a stage, give it an alias, or both: all together, or nothing.

        A version that has the stage to itself makes room, and goes into the last stage.

        Args:
            version: which one.
            stage: one of :attr:`stage_names`.
            alias: such as ``"champion"``.
            reason: why, for the history.

        Raises:
            PreconditionError: somebody has moved the same stage, alias or version since this handle was read.
            InvalidArgumentError: there is no such stage, or the alias or the reason cannot be that.
            ConflictError: approvals are missing, nothing would move, or something is deleted.
            ConditionsUnsupportedError: the store cannot decide who comes first.
        """
        which = version.entity.entity_id if isinstance(version, ModelVersionHandle) else version
        found = self.version(which).entity
        self._do(promotion.promote(self.client.store, self.entity, found, stage=stage, alias=alias, reason=reason))
        return self.version(found.entity_id)

    def remove_alias(self, alias: str, *, reason: str) -> None:
        """Take an alias away from the version that has it.

        Raises:
            NotFoundError: no version has it; PreconditionError: somebody has moved it since this handle was read.
        """
        self._do(promotion.remove_alias(self.entity, alias, reason=reason))

    def set_stages(self, *names: str) -> None:
        """Say which stages its versions go through, in order; they begin in the first and end in the last.

        Raises:
            InvalidArgumentError: there are fewer than two; ConflictError: one that is in use would go.
        """
        self._do(promotion.set_stages(self.client.store, self.entity, names))

    def require_approvals(self, stage: str, count: int = 1) -> None:
        """Say how many people have to approve a version before it comes into a stage; 0: nobody has to.

        Raises:
            InvalidArgumentError: there is no such stage, or versions begin in it.
        """
        self._do(promotion.require_approvals(self.entity, stage, count))

    def history(self) -> tuple[Move, ...]:
        """Return who moved which version from where to where, when and why: the oldest move first, read from the log."""
        return tuple(history_of(self.client.store, self.entity.entity_id))

    def at(self, time: datetime | None = None) -> State:
        """Return which versions had its stages and aliases at a time, which must have a time zone; default: now.

        Raises:
            NotFoundError: the model was not there then.
        """
        self.reload()
        state = state_at(self.client.store, self.entity, check_time(time))
        if state is None:
            msg = f"there was no registered model {self.name!r} at {time or 'this time'}"
            raise NotFoundError(msg)
        return state

    def _do(self, operation: Operation) -> None:
        try:
            carry_out(self.client, operation)
        finally:
            self.reload()

    def _numbers(self, ids: Mapping[str, Any]) -> dict[str, int | None]:
        found = references.versions_by_id(self.client.store, ids.values())
        versions_of = {name: found.get(str(each)) for name, each in ids.items()}
        return {name: None if version is None else version.version for name, version in versions_of.items()}

    def __repr__(self) -> str:
        return f"<RegisteredModel {self.name!r} {self.entity.entity_id}>"


class ModelVersionHandle:
    """A version of a registered model as it was read."""

    def __init__(self, client: Session, model: RegisteredModel, entity: ModelVersion) -> None:
        self.client, self.model, self.entity = client, model, entity

    @property
    def name(self) -> str:
        """The name of its model."""
        return self.model.name

    @property
    def number(self) -> int:
        """Its number."""
        return self.entity.version

    @property
    def reference(self) -> str:
        """What always means this version, such as ``churn@v3``."""
        return f"{self.name}@v{self.number}"

    @property
    def stage(self) -> str:
        """How far it has come."""
        return self.entity.stage

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases that it has."""
        return tuple(sorted(name for name, each in self.model.aliases.items() if each == self.entity.entity_id))

    @property
    def run_id(self) -> str:
        """The identifier of the run that made it; empty where it was made from files."""
        return self.entity.run_id

    @property
    def signature(self) -> Mapping[str, Any]:
        """What goes into the model and what comes out, as it was noted when it was stored; empty where nothing was."""
        found = self.entity.model.get("signature")
        return found if isinstance(found, Mapping) else {}

    @property
    def trusted_types(self) -> tuple[str, ...]:
        """The names of types that loading it may build, by the word of the one who registered it."""
        return tuple(str(name) for name in self.entity.trusted_types if name != versions.PICKLE)

    def download(self, path: str | os.PathLike[str]) -> Path:
        """Write its files to a path, checked against their digests; returns it.

        Raises:
            NotFoundError: a file is no longer in the artifact store.
        """
        name = versions.folder_of(self.entity)
        try:
            return artifact_kinds.download(self.entity.artifacts, name, Path(path), self.client.blobs)
        except NotFoundError as error:
            msg = f"{self.reference} cannot be read: a file of it is not in the artifact store, or was erased: {error}"
            raise NotFoundError(msg) from error

    def card(self) -> str:
        """Return its model card in Markdown, filled from the record; what people and programs recorded is escaped."""
        return cards.card(self.client.store, self.model, self.entity, resolve=self.client.resolve)

    def request_approval(self, stage: str, reason: str = "") -> None:
        """Ask others to approve it before a stage."""
        self._say(stage, REQUESTED, reason)

    def approve(self, stage: str, reason: str = "") -> None:
        """Approve it before a stage, in the name of the client's user.

        Raises:
            InvalidArgumentError: there is no such stage; ConflictError: it is deleted.
        """
        self._say(stage, APPROVED, reason)

    def reject(self, stage: str, reason: str) -> None:
        """Refuse it before a stage, and say why."""
        self._say(stage, REJECTED, reason)

    def approvals(self) -> tuple[Approval, ...]:
        """Return what was said of it before stages, the oldest first."""
        return tuple(approvals.approvals_of(self.client.store, self.entity.entity_id))

    def _say(self, stage: str, verdict: str, reason: str) -> None:
        author = self.client.actor
        said = approvals.approve(self.model, self.entity, stage=stage, verdict=verdict, reason=reason, author=author)
        carry_out(self.client, said)
        self.entity = cast("ModelVersion", self.client.store.get("model_version", self.entity.entity_id))

    def __repr__(self) -> str:
        return f"<ModelVersion {self.reference} {self.stage} {self.entity.entity_id}>"


# -- inside -----------------------------------------------------------------------------------------------------------


def carry_out(client: Session, operation: Operation) -> None:
    """Carry an operation out directly, as a stream by itself."""
    execute(DirectWriter(client.store, client.actor), operation, stream_id=new_id())


def workspace_id_of(client: Session) -> str:
    """Return the identifier of the client's workspace, where its models lie."""
    return client.store.identify(("workspace", client.settings.workspace))[-1]
