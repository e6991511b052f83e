"""The kinds of the model registry: registered models, their versions, and what people said before a version moved on."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - anyone who describes the entities reads these types at run time
from dataclasses import dataclass
from typing import Any, ClassVar

from modeldb_core.model.entity import Entity, clash_count, clashes, made_from
from modeldb_core.model.schema import integer, mapping, reference, text, texts

STAGES = ("development", "staging", "production", "archived")
"""What versions go through where a model does not say: they begin in the first and end in the last."""
REQUESTED, APPROVED, REJECTED = "requested", "approved", "rejected"
VERDICTS = (REQUESTED, APPROVED, REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel(Entity):
    """A named line of model versions: which of them is in a stage, and which has an alias such as "champion".

    ``aliases`` and ``stages`` map a name to a version's identifier. Any number of versions are in the first stage, where
    they begin, and in the last, where they end; each stage between holds one, and only those are in ``stages``.
    """

    KIND: ClassVar[str] = "registered_model"

    name: str = text("what people call it", searchable=True, unique_within="workspace_id")
    workspace_id: str = reference("workspace", container=True)
    aliases: Mapping[str, Any] = mapping("versions by alias", entries={"": "model_version"}, decided=True)
    stages: Mapping[str, Any] = mapping(
        "versions by the stage that each has to itself", entries={"": "model_version"}, decided=True
    )
    stage_names: tuple[str, ...] = texts(
        f"the stages that its versions go through, in order; none: {', '.join(STAGES)}", decided=True
    )
    approvals_needed: Mapping[str, Any] = mapping(
        "how many people have to approve a version before a stage, by stage", decided=True
    )
    last_version: int = integer(
        "the highest number that it has given to a version", default=0, decided=True, says_last=True
    )
    last_move: Mapping[str, Any] = mapping(
        "the last promotion: which version, from where to where, why", decided=True, says_last=True
    )
    clashes: Mapping[str, Any] = clashes("model_version")
    clash_count: int = clash_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Entity):
    """One version of a registered model: its files, the run that made it, and the stage that it is in."""

    KIND: ClassVar[str] = "model_version"

    registered_model_id: str = reference("registered_model", container=True)
    version: int = integer("its number", default=0, searchable=True, unique_within="registered_model_id", decided=True)
    stage: str = text("how far it has come", searchable=True, choices=STAGES, decided=True)
    approval: str = text("the last verdict on it", searchable=True, choices=VERDICTS, decided=True, says_last=True)
    run_id: str = reference("run", "the run that made it", lineage="input")
    artifact: str = text("where its files are among the artifacts of that run", searchable=True)
    artifacts: Mapping[str, Any] = mapping("files by path", searchable=True, offered=False, names_blobs=True)
    model: Mapping[str, Any] = mapping("how it was stored: format, class, packages, signature", searchable=True)
    trusted_types: tuple[str, ...] = texts("types that loading it may build, by the word of the one who registered it")
    inputs: Mapping[str, Any] = made_from()
    clashes: Mapping[str, Any] = clashes("")
    clash_count: int = clash_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval(Entity):
    """What a person said of a version before a stage: that approval is requested, that it is given, or refused."""

    KIND: ClassVar[str] = "approval"

    model_version_id: str = reference("model_version", container=True)
    stage: str = text("the stage that it is about", searchable=True)
    verdict: str = text("requested, approved or rejected", searchable=True, choices=VERDICTS)
    reason: str = text("why", searchable=True)
    author: str = text("who said it", searchable=True, names_actor=True)
