"""The registry of models through the API: versions, promotions, approvals, and what was where at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from modeldb_core.commands import edits
from modeldb_core.commands.operation import Operation, decide
from modeldb_core.commands.registry import approvals, cards, history, promotion, references, versions
from modeldb_core.commands.values import recorded
from modeldb_core.log.json_documents import entity_document, time_text
from modeldb_core.model.entities import to_datetime
from modeldb_server.handlers.artifacts import send_artifact
from modeldb_server.handlers.creating import home_of
from modeldb_server.handlers.edits import edited
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.model.entities import ModelVersion, RegisteredModel, Run
    from modeldb_server.context import ServerContext


def register_version(
    context: ServerContext,
    *,
    entity_id: str,
    run_id: str,
    artifact: str,
    description: str | None,
    tags: tuple[str, ...],
    attributes: dict[str, Any] | None,
    trusted: tuple[str, ...],
) -> Response:
    """Make the next version of a model from the model of a run, and return it."""
    _model(context, entity_id)
    check_id("run", run_id)
    source = versions.from_run(cast("Run", edits.living(context.store, "run", run_id)), artifact)
    versions.check_there(context.artifacts, source)
    said = versions.Said(
        description=description or "",
        tags=tags,
        attributes=recorded(attributes or {}, "attributes", context.artifacts.put),
        trusted=trusted,
    )
    version_id = context.new_id(versions.VERSION)

    def look() -> Operation:
        model = _model(context, entity_id)
        return versions.register_next(context.store, model, source, said, version_id=version_id)

    decide(context.execute, look)
    return json_response(entity_document(context.store.get(versions.VERSION, version_id)), 201)


def promote(
    context: ServerContext, *, entity_id: str, version: str, stage: str | None, alias: str | None, reason: str
) -> Response:
    """Move a version into a stage, give it an alias, or both, and return the model."""
    model = _model(context, entity_id)
    found = references.find_version(context.store, model, version)
    made = promotion.promote(context.store, model, found, stage=stage or "", alias=alias or "", reason=reason)
    return edited(context, made)


def remove_alias(context: ServerContext, *, entity_id: str, alias: str, reason: str) -> Response:
    """Take an alias away, and return the model."""
    return edited(context, promotion.remove_alias(_model(context, entity_id), alias, reason=reason))


def set_stages(context: ServerContext, *, entity_id: str, stages: tuple[str, ...]) -> Response:
    """Say which stages a model's versions go through, and return the model."""
    return edited(context, promotion.set_stages(context.store, _model(context, entity_id), stages))


def require_approvals(context: ServerContext, *, entity_id: str, stage: str, count: int) -> Response:
    """Say how many people have to approve a version before a stage, and return the model."""
    return edited(context, promotion.require_approvals(_model(context, entity_id), stage, count))


def approve(context: ServerContext, *, entity_id: str, stage: str, verdict: str, reason: str | None) -> Response:
    """Record what whoever asks says of a version before a stage, and return that."""
    version = _version(context, entity_id)
    model = _model(context, version.registered_model_id)
    said = approvals.approve(
        model,
        version,
        stage=stage,
        verdict=verdict,
        reason=reason or "",
        author=context.actor,
        approval_id=context.new_id(approvals.APPROVAL),
    )
    return edited(context, said, 201)


def read_history(context: ServerContext, *, entity_id: str, cursor: str, limit: int) -> Response:
    """Return a page of the moves between a model's stages and aliases, the oldest first."""
    check_id(versions.MODEL, entity_id)
    context.store.get(versions.MODEL, entity_id)
    page = history.history_page(context.store, entity_id, cursor, limit)
    return json_response({"moves": list(map(history.move_document, page.moves)), "cursor": page.cursor})


def read_registry(context: ServerContext, *, at: int | None, model_id: str | None, cursor: str, limit: int) -> Response:
    """Return which versions had which stages and aliases at a time: of one model, or of a page of all."""
    moment, further = to_datetime(at), None
    if model_id is None:
        states, further = history.registry_page(context.store, at=moment, cursor=cursor, limit=limit)
    else:
        check_id(versions.MODEL, model_id)
        model = cast("RegisteredModel", context.store.get(versions.MODEL, model_id))
        state = history.state_at(context.store, model, moment)
        states = [] if state is None else [state]
    return json_response(
        {"at": time_text(moment), "models": list(map(history.state_document, states)), "cursor": further}
    )


def find_version(context: ServerContext, *, reference: str) -> Response:
    """Return the version that a reference means, in the workspace of whoever asks."""
    workspace_id, _ = home_of(context)
    _, version = references.resolve(context.store, workspace_id, reference)
    return json_response(entity_document(version))


def read_card(context: ServerContext, *, entity_id: str) -> Response:
    """Return the card of a version as Markdown in which what people recorded is escaped."""
    version = _version(context, entity_id)
    model = cast("RegisteredModel", context.store.get(versions.MODEL, version.registered_model_id))
    text = cards.card(context.store, model, version)
    return json_response({"model_version_id": entity_id, "card": text})


def read_file(context: ServerContext, *, entity_id: str, path: str, download: bool) -> Response:
    """Return the bytes of a file of a version."""
    return send_artifact(context, _version(context, entity_id), path, download=download)


def _model(context: ServerContext, entity_id: str) -> RegisteredModel:
    check_id(versions.MODEL, entity_id)
    return cast("RegisteredModel", edits.living(context.store, versions.MODEL, entity_id))


def _version(context: ServerContext, entity_id: str) -> ModelVersion:
    check_id(versions.VERSION, entity_id)
    return cast("ModelVersion", context.store.get(versions.VERSION, entity_id))
