"""What happens to a run: it starts, logs, and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from modeldb_core.commands.edits import check_field, put_values, update
from modeldb_core.commands.names import check_name, check_tags, readable_name
from modeldb_core.commands.operation import Operation
from modeldb_core.commands.times import check_order, check_reported
from modeldb_core.errors import InvalidArgumentError, RunFinishedError
from modeldb_core.log.changes import APPEND, CREATE
from modeldb_core.log.conditions import Absent
from modeldb_core.log.stream import Entry
from modeldb_core.model.entities import ENDS, RUNNING, Run, now_us
from modeldb_core.model.numbers import to_number
from modeldb_core.model.schema import METRICS
from modeldb_core.model.values import check_key, check_text, normalize
from modeldb_core.runtime.redaction import redact_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modeldb_core.log.points import PointGroup
    from modeldb_core.model.entities import Entity
    from modeldb_core.model.registry import ModelVersion, RegisteredModel
    from modeldb_core.model.values import Value

RUN = Run.KIND
MAX_NOTE = 1024
"""Characters that are kept of a note."""


def start(
    run_id: str,
    containers: Mapping[str, str],
    *,
    started_at: int | None = None,
    name: str = "",
    tags: Iterable[str] = (),
    description: str = "",
    sections: Mapping[str, Mapping[str, Value]] | None = None,
    notes: Iterable[str] = (),
    stream_id: str = "",
) -> Operation:
    """Start a run.

    Args:
        run_id: its identifier; no run may have it.
        containers: ``project_id``, ``experiment_id``, and ``parent_id`` where it is part of another run.
        started_at: microseconds since 1970-01-01 UTC, as reported by who logs; ``None``: now, as measured here.
        name: what people call it; default: a readable random name.
        tags: labels.
        description: what it is, in words.
        sections: maps of values that are known at the start, such as hyperparameters.
        notes: what is to be said of those.
        stream_id: the stream whose writer has the run open: it reads as lost when that falls silent. Without one it runs
            until it is finished.

    Raises:
        InvalidArgumentError: a name or a tag cannot be that, a run has no such section, or ``started_at`` lies in the future.
    """
    fields: dict[str, Any] = {**containers, "name": check_name(name, RUN) if name else readable_name(run_id)}
    fields |= {"status": RUNNING, "started_at": now_us() if started_at is None else started_at}
    if started_at is not None:
        check_reported(started_at, "started_at")
        fields["reported_times"] = ["started_at"]
    if listed := check_tags(tags):
        fields["tags"] = listed
    if description:
        fields["description"] = check_text(description, "description")
    for section in sections or {}:
        check_field(RUN, section)
    fields |= {section: dict(values) for section, values in (sections or {}).items() if values}
    if said := list(notes):
        fields["notes"] = said
    if stream_id:
        fields["stream_id"] = stream_id
    return Operation((Entry(CREATE, RUN, run_id, fields),), (Absent(RUN, run_id),), run_id)


def ended(started: Operation, status: str, *, finished_at: int) -> Operation:
    """Return what :func:`start` returned as one change that starts the run and ends it.

    Args:
        started: the operation that starts it.
        status: finished, failed, killed or pruned.
        finished_at: microseconds since 1970-01-01 UTC.

    Raises:
        InvalidArgumentError: ``status`` is not an end.
    """
    (entry,) = started.entries
    fields = {**entry.values, "status": check_end(status), "finished_at": finished_at}
    return replace(started, entries=(entry._replace(data=fields),))


def move_to_stream(run_id: str, stream_id: str) -> Operation:
    """Note that another stream's writer has the run open."""
    return update(RUN, run_id, {"set": {"stream_id": stream_id}})


def resume(run_id: str, stream_id: str) -> Operation:
    """Continue a run that has ended, or whose writer is gone."""
    fields: dict[str, Any] = {"status": RUNNING, "stream_id": stream_id, "finished_at": None, "failure": {}}
    data = {"set": fields, "remove": {"reported_times": ["finished_at"]}}
    return update(RUN, check_key(run_id, "run_id"), data)


def finish(
    run_id: str,
    status: str,
    *,
    finished_at: int | None = None,
    not_before: int | None = None,
    failure: Mapping[str, str] | None = None,
) -> Operation:
    """End a run.

    Args:
        run_id: which run.
        status: finished, failed, killed or pruned.
        finished_at: microseconds since 1970-01-01 UTC, as reported by who logs; ``None``: now, as measured here.
        not_before: its start, or that and how long it took, by who has measured that; ``None``: not known. A reported end
            may not be before it, and a measured one is not, though the clock was set back meanwhile, or is another one.
        failure: of a failed run, ``type``, ``message`` and ``traceback`` of the exception.

    Raises:
        InvalidArgumentError: ``status`` is not an end, or ``finished_at`` lies in the future or before the start.
    """
    fields: dict[str, Any] = {"status": check_end(status)}
    fields["finished_at"] = max(now_us(), not_before or 0) if finished_at is None else finished_at
    if failure:
        fields["failure"] = dict(failure)
    data: dict[str, Any] = {"set": fields}
    if finished_at is not None:
        check_order(not_before, check_reported(finished_at, "finished_at"))
        data["add"] = {"reported_times": ["finished_at"]}
    return update(RUN, run_id, data, ends_run=True)


def check_end(status: str) -> str:
    """Return ``status`` if a run can end with it.

    Raises:
        InvalidArgumentError: it cannot.
    """
    if status not in ENDS:
        msg = f"status {status!r} is not a final status; expected one of {', '.join(ENDS)}"
        raise InvalidArgumentError(msg)
    return status


def check_open(run: Entity) -> None:
    """See that something may be logged to a run as stored.

    Raises:
        RunFinishedError: it has ended.
    """
    status = str(run.document.get("status", ""))
    if status in ENDS:
        msg = f"run {run.name!r} ({run.entity_id}) has ended ({status}); start another one"
        raise RunFinishedError(msg)


def log_metrics(run_id: str, metrics: Mapping[str, object]) -> Operation:
    """Record numbers that a run has one of each, under their names.

    Raises:
        InvalidTypeError: something is not a number, or a name is not a text.
    """
    values = {check_key(key, "metric name"): to_number(value, f"metric {key!r}") for key, value in metrics.items()}
    return put_values(RUN, run_id, METRICS, values)


class Points(NamedTuple):
    """Points of series that were measured together.

    Attributes:
        values: the values of each series, by its name.
        steps: labels of the points, in any order.
        times: when each was measured, in microseconds since 1970-01-01 UTC.
    """

    values: Mapping[str, Sequence[float]]
    steps: Sequence[int]
    times: Sequence[int]


def log_points(run_id: str, points: Iterable[Points]) -> Operation:
    """Record points of series.

    Raises:
        InvalidArgumentError: there are none, or not as many steps and times as values.
    """
    from modeldb_core.log.points import encode_points

    groups = [_group(each) for each in points]
    if not groups:
        msg = "there are no points; give at least one value and its step"
        raise InvalidArgumentError(msg)
    return Operation((Entry(APPEND, RUN, run_id, encode_points(groups)),), entity_id=run_id)


def _group(points: Points) -> PointGroup:
    import numpy as np

    from modeldb_core.log.points import PointGroup

    keys = tuple(check_key(key, "metric name") for key in points.values)
    for name, column in {"times": points.times, **points.values}.items():
        if len(column) != len(points.steps):
            msg = f"{name} has {len(column):,} points and steps has {len(points.steps):,}; give as many of each"
            raise InvalidArgumentError(msg)
    if not keys or not len(points.steps):
        msg = "there are no points; give at least one value and its step"
        raise InvalidArgumentError(msg)
    columns = np.array([points.values[key] for key in keys], np.float64)
    return PointGroup(keys, np.array(points.steps, np.int64), np.array(points.times, np.int64), columns)


def rename(run_id: str, name: str) -> Operation:
    """Give a run another name, which need not be unique.

    Raises:
        InvalidArgumentError: the name is empty or too long.
    """
    return update(RUN, run_id, {"set": {"name": check_name(name, RUN)}})


def note(run_id: str, text: str) -> Operation:
    """Leave word for those who read the run, for example on what could not be recorded; without secrets."""
    shown = redact_message(check_text(text, "note"))[:MAX_NOTE]
    return update(RUN, run_id, {"add": {"notes": [check_key(shown, "note")]}})


def use_model(run_id: str, role: str, model: RegisteredModel, version: ModelVersion) -> Operation:
    """Record that a run uses a version of a registered model, in a role."""
    reference: Value = {
        "name": model.name,
        "version": version.version,
        "registered_model_id": model.entity_id,
        "model_version_id": version.entity_id,
    }
    return put_values(RUN, run_id, "models", {check_key(role, "role of a model"): reference})


def link_artifacts(run_id: str, entries: Mapping[str, Mapping[str, object]]) -> Operation:
    """Name blobs that are stored as artifacts of a run.

    Args:
        run_id: which run.
        entries: by path: ``digest``, ``size_bytes``, ``type``, ``media_type``, and what else is to be shown.
    """
    checked = {check_key(path, "artifact name"): normalize(entry, path) for path, entry in entries.items()}
    return update(RUN, run_id, {"put": {"artifacts": checked}})


def use_artifacts(run_id: str, source_id: str, entries: Mapping[str, Mapping[str, object]]) -> Operation:
    """Record that a run read files of another one.

    Args:
        run_id: which run.
        source_id: the run that the files belong to.
        entries: by path: ``digest`` and ``size_bytes``.
    """
    source = {"kind": RUN, "entity_id": check_key(source_id, "run")}
    used = {
        f"{RUN}:{source_id}/{path}": {**source, "path": path, **_digest_and_size(entry, path)}
        for path, entry in entries.items()
    }
    return update(RUN, run_id, {"put": {"inputs": used}})


def _digest_and_size(entry: Mapping[str, object], path: str) -> dict[str, Any]:
    """Return of the entry of a file what says which file it is."""
    return {name: normalize(entry[name], f"{path}.{name}") for name in ("digest", "size_bytes") if name in entry}


def unlink_artifacts(run_id: str, paths: Iterable[str]) -> Operation:
    """Take artifacts away from a run. What nothing names any more, garbage collection removes later."""
    return update(RUN, run_id, {"remove": {"artifacts": [check_key(path, "artifact name") for path in paths]}})
