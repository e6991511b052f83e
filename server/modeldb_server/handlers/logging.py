"""What programs log to runs through the API: metrics, series, settings, files, data sets; and the end of a run."""

from __future__ import annotations

import mimetypes
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from flask import request

from modeldb_core.commands import edits, runs
from modeldb_core.commands.datasets import content_of
from modeldb_core.commands.datasets import log_dataset as log_a_dataset
from modeldb_core.commands.names import check_name
from modeldb_core.commands.operation import together
from modeldb_core.commands.runs import Points
from modeldb_core.commands.values import recorded
from modeldb_core.errors import InvalidArgumentError, NotFoundError
from modeldb_core.model.entities import DEFAULT_WORKSPACE, now_us
from modeldb_core.model.numbers import to_float
from modeldb_core.model.values import check_key
from modeldb_core.stores import can_seek
from modeldb_server.handlers.edits import changed, edited
from modeldb_server.handlers.entities import check_id
from modeldb_server.responses import json_response

if TYPE_CHECKING:
    from flask import Response

    from modeldb_core.model.entities import Entity
    from modeldb_server.context import ServerContext


def log_metrics(
    context: ServerContext,
    *,
    run_id: str,
    metrics: dict[str, Any] | None,
    step: int | None,
    time: int | None,
    points: list[dict[str, Any]] | None,
) -> Response:
    """Log numbers of a run: one of each, one point of each series, or many points."""
    if (metrics is None) == (points is None):
        msg = "give either metrics, with or without a step, or points"
        raise InvalidArgumentError(msg)
    _open(context, run_id)
    if points is not None:
        operation = runs.log_points(run_id, _grouped(points))
    elif step is not None:
        operation = runs.log_points(run_id, _grouped([{"metrics": metrics, "step": step, "time": time}]))
    elif time is not None:
        msg = "time is given without a step; only a point of a series has a time: give its step too"
        raise InvalidArgumentError(msg)
    else:
        operation = runs.log_metrics(run_id, metrics or {})
    return changed(context, operation)


def _grouped(points: list[dict[str, Any]]) -> list[Points]:
    """Return points as columns: those that have the same names, one after the other, together."""
    now, groups = now_us(), list[tuple[tuple[str, ...], list[dict[str, Any]]]]()
    for point in points:
        keys = tuple(point["metrics"])
        if not groups or groups[-1][0] != keys:
            groups.append((keys, []))
        groups[-1][1].append(point)
    return [
        Points(
            {key: [to_float(each["metrics"][key], f"metric {key!r}") for each in some] for key in keys},
            [each["step"] for each in some],
            [now if each["time"] is None else each["time"] for each in some],
        )
        for keys, some in groups
    ]


def log_series(context: ServerContext, *, run_id: str, series: list[dict[str, Any]]) -> Response:
    """Log whole series, or stretches of them."""
    _open(context, run_id)
    now = now_us()
    columns = [
        Points(
            {each["key"]: each["values"]},
            range(len(each["values"])) if each["steps"] is None else each["steps"],
            [now] * len(each["values"]) if each["times"] is None else each["times"],
        )
        for each in series
    ]
    return changed(context, runs.log_points(run_id, columns))


def log_hyperparameters(context: ServerContext, *, run_id: str, values: dict[str, Any]) -> Response:
    """Log settings of the training."""
    _open(context, run_id)
    return _put(context, "run", run_id, "hyperparameters", values)


def set_values(context: ServerContext, *, kind: str, section: str, entity_id: str, values: dict[str, Any]) -> Response:
    """Record facts about an entity, of a run that has ended too."""
    check_id(kind, entity_id)
    edits.living(context.store, kind, entity_id)
    return _put(context, kind, entity_id, section, values)


def _put(context: ServerContext, kind: str, entity_id: str, section: str, values: dict[str, Any]) -> Response:
    if not values:
        msg = "values is empty; give at least one"
        raise InvalidArgumentError(msg)
    checked = recorded(values, section, context.artifacts.put)
    return changed(context, edits.put_values(kind, entity_id, section, checked))


def put_artifact(context: ServerContext, *, run_id: str, path: str, type: str | None, content: BinaryIO) -> Response:  # noqa: A002
    """Store a file with a run, and return its digest."""
    check_key(path, "path")
    _open(context, run_id)
    raw = request.environ["wsgi.input"]  # whole already, in memory or in a file, where the server received it as such
    info = context.artifacts.put(raw if can_seek(raw) else content)
    media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    entry = {"digest": info.digest, "size_bytes": info.size_bytes, "media_type": media_type, "type": type or "file"}
    context.execute(runs.link_artifacts(run_id, {path: entry}))
    return json_response({"path": path, **entry})


def remove_artifact(context: ServerContext, *, run_id: str, path: str) -> Response:
    """Take a file away from a run."""
    check_id("run", run_id)
    run = edits.living(context.store, "run", run_id)
    if path not in run.document.get("artifacts", {}):
        msg = f"the run has no artifact {path!r}"
        raise NotFoundError(msg)
    return changed(context, runs.unlink_artifacts(run_id, [path]))


def log_dataset(
    context: ServerContext,
    *,
    run_id: str,
    role: str,
    name: str,
    digest: str | None,
    dataset_type: str | None,
    size_bytes: int | None,
    info: dict[str, Any] | None,
) -> Response:
    """Record what a run was trained or tested on."""
    run = _open(context, run_id)
    known = {"digest": digest, "kind": dataset_type, "size_bytes": size_bytes}
    described = {**(info or {}), **{key: value for key, value in known.items() if value is not None}}
    checked = recorded(described, "info", context.artifacts.put)
    text = check_name(name, "data set")
    workspace_id, dataset_id = context.store.identify(("workspace", _workspace_of(context, run)), ("dataset", text))
    content = content_of({"name": text, **checked})
    operations = log_a_dataset(run_id, role, text, content, workspace_id=workspace_id, dataset_id=dataset_id)
    return changed(context, together(operations))


def _workspace_of(context: ServerContext, run: Entity) -> str:
    """Return the name of the workspace of a run."""
    with suppress(NotFoundError):
        project = context.store.get("project", str(run.document.get("project_id")))
        return context.store.get("workspace", str(project.document.get("workspace_id"))).name
    return DEFAULT_WORKSPACE


def finish_run(
    context: ServerContext, *, run_id: str, status: str, finished_at: int | None, failure: dict[str, Any] | None
) -> Response:
    """End a run and return it."""
    run = _open(context, run_id)
    texts = {key: str(value) for key, value in (failure or {}).items()}
    began_at = run.document.get("started_at")
    return edited(context, runs.finish(run_id, status, finished_at=finished_at, not_before=began_at, failure=texts))


def _open(context: ServerContext, run_id: str) -> Entity:
    check_id("run", run_id)
    run = edits.living(context.store, "run", run_id)
    runs.check_open(run)
    return run
