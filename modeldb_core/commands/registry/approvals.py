"""What people say of a version before a stage: approval is requested, given or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from modeldb_core.commands.edits import check_living
from modeldb_core.commands.operation import Operation
from modeldb_core.commands.registry.references import stage_names
from modeldb_core.commands.registry.versions import VERSION, updating
from modeldb_core.errors import ConflictError, InvalidArgumentError
from modeldb_core.log.changes import CREATE
from modeldb_core.log.conditions import Absent, Unset
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import new_id
from modeldb_core.model.registry import APPROVED, REJECTED, REQUESTED, VERDICTS
from modeldb_core.model.values import check_text
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query, condition

if TYPE_CHECKING:
    from modeldb_core.model.registry import Approval, ModelVersion, RegisteredModel
    from modeldb_core.stores import MetadataStore

APPROVAL = "approval"


def approve(
    model: RegisteredModel,
    version: ModelVersion,
    *,
    stage: str,
    verdict: str = APPROVED,
    reason: str = "",
    author: str,
    approval_id: str = "",
) -> Operation:
    """Record a verdict on a version before a stage.

    Args:
        model: of the version.
        version: which one.
        stage: that it is to come into.
        verdict: requested, approved or rejected.
        reason: why; who rejects says it.
        author: who says it: the one who makes the change.
        approval_id: the identifier of the record; default: a new one.

    Raises:
        InvalidArgumentError: the verdict or the stage is none, or a rejection has no reason.
        ConflictError: the version is deleted.
    """
    check_living(version)
    if verdict not in VERDICTS:
        msg = f"verdict is {verdict!r:.40}; expected one of {', '.join(VERDICTS)}"
        raise InvalidArgumentError(msg)
    stages = stage_names(model)
    if stage not in stages[1:]:
        msg = (
            f"versions of {model.name!r} need no approval before {stage!r:.80}; expected one of {', '.join(stages[1:])}"
        )
        raise InvalidArgumentError(msg)
    why = check_text(reason, "reason").strip()
    if verdict == REJECTED and not why:
        msg = "reason is empty; say why the version is rejected"
        raise InvalidArgumentError(msg)
    said = {"model_version_id": version.entity_id, "stage": stage, "verdict": verdict, "reason": why, "author": author}
    entity_id = approval_id or new_id()
    # The version changes with it: a promotion that looked before fails.
    entries = (
        updating(version, {"set": {"approval": verdict}}),
        Entry(CREATE, APPROVAL, entity_id, {"name": f"{verdict} by {author}"[:256], **said}),
    )
    expect = (Absent(APPROVAL, entity_id), Unset(VERSION, version.entity_id, "deleted_at"))
    return Operation(entries, expect, entity_id)


def approvals_of(store: MetadataStore, version_id: str, stage: str = "") -> list[Approval]:
    """Return what was said of a version, the oldest first: before one stage, or before any."""
    of_stage = condition("stage = ?", stage) if stage else ""
    query = Query(APPROVAL, of_stage, "created_at, entity_id", within=version_id)
    return [cast("Approval", each) for each in pages(store, query)]


def standing(store: MetadataStore, version_id: str, stage: str) -> dict[str, str]:
    """Return the last verdict of each person on a version before a stage; a request is none.

    The one who made the record counts, whatever it says of its author.
    """
    return {each.owner: each.verdict for each in approvals_of(store, version_id, stage) if each.verdict != REQUESTED}


def check_approved(store: MetadataStore, model: RegisteredModel, version: ModelVersion, stage: str) -> None:
    """See that a version has the approvals that its model demands before a stage.

    Raises:
        ConflictError: it has not; the message says what is missing.
    """
    needed = model.approvals_needed.get(stage, 0)
    if not needed or version.stage == stage:
        return
    needed = needed if type(needed) is int else 1  # a record may hold anything
    verdicts = standing(store, version.entity_id, stage)
    given = sorted(person for person, verdict in verdicts.items() if verdict == APPROVED)
    refused = sorted(person for person, verdict in verdicts.items() if verdict == REJECTED)
    if refused or len(given) < needed:
        said = f"rejected by {', '.join(refused)}" if refused else f"approved by {', '.join(given) or 'nobody'}"
        msg = (
            f"v{version.version} of {model.name!r} needs {needed} approvals before {stage!r} and no rejection; it is {said}. "
            f"Approve it first (modeldb model approve)"
        )
        raise ConflictError(msg)
